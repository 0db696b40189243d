/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/vdi.h"

#include <errno.h>

#include "formats/derive.h"
#include "formats/guard.h"
#include "formats/slice.h"

#define SECTOR 512u
#define BLOCK (UINT64_C(1) << 20) /* the only size that all readers know */
#define HEADER 512u
#define MAP BLOCK /* where it is */
/* what qemu opens: 512 TiB less what the map takes of its 2 GiB */
#define BLOCKS_MAX UINT64_C(0x1fffff80)

#define SIGNATURE 0xbeda107fu
#define VERSION 0x00010001u
#define HEADER_SIZE 400u
#define TYPE_STATIC 2u

static uint64_t blocks(const struct layout *l)
{
	return (l->guest + BLOCK - 1) / BLOCK;
}

static int vdi_layout(uint64_t guest, uint32_t sector_size, struct layout *ret)
{
	uint64_t n = guest / BLOCK + (guest % BLOCK != 0);

	if (n == 0 || n > BLOCKS_MAX || guest % SECTOR || sector_size != SECTOR)
		return -EFBIG;
	*ret = (struct layout){ .guest = guest,
		.sector_size = sector_size,
		.prefix = round_up(MAP + 4 * n, BLOCK),
		.disk = guest,
		.pad = n * BLOCK - guest };
	return 0;
}

static void header(
	const struct layout *l, const struct identity *id, uint8_t b[HEADER])
{
	static const char text[] = "<<< Oracle VM VirtualBox Disk Image >>>\n";
	struct uuid created = derive_uuid(id, "vdi");
	struct uuid modified = derive_uuid(id, "vdi modification");

	memset(b, 0, HEADER);
	memcpy(b, text, sizeof(text));
	put_le32(b + 0x40, SIGNATURE);
	put_le32(b + 0x44, VERSION);
	put_le32(b + 0x48, HEADER_SIZE);          /* cbHeader */
	put_le32(b + 0x4c, TYPE_STATIC);          /* u32Type */
	put_le32(b + 0x154, (uint32_t)MAP);       /* offBlocks */
	put_le32(b + 0x158, (uint32_t)l->prefix); /* offData */
	put_le32(b + 0x168, SECTOR);              /* cbSector */
	put_le64(b + 0x170, l->guest);            /* cbDisk */
	put_le32(b + 0x178, (uint32_t)BLOCK);     /* cbBlock */
	put_le32(b + 0x180, (uint32_t)blocks(l)); /* cBlocks */
	put_le32(b + 0x184, (uint32_t)blocks(l)); /* cBlocksAllocated */
	memcpy(b + 0x188, created.b, sizeof(created.b));
	memcpy(b + 0x198, modified.b, sizeof(modified.b));
	put_le32(b + 0x1d4, SECTOR); /* of LCHSGeometry */
}

static int vdi_metadata(const struct layout *l, const struct identity *id,
	const struct format_disk *d, uint64_t off, size_t len, uint8_t *out)
{
	struct slice s = slice_init(off, len, out);
	uint64_t n = blocks(l);

	(void)d;
	if (slice_has(&s, 0, HEADER)) {
		uint8_t b[HEADER];

		header(l, id, b);
		slice_put(&s, 0, b, sizeof(b));
	}
	for (uint64_t i = slice_first(&s, MAP, 4, n);
		i < slice_end(&s, MAP, 4, n); i++) {
		uint8_t b[4];

		put_le32(b, (uint32_t)i);
		slice_put(&s, MAP + 4 * i, b, sizeof(b));
	}
	return 0;
}

/* VirtualBox writes new identifiers and a comment into the header. */
static int vdi_check_write(
	const struct layout *l, uint64_t off, size_t len, const uint8_t *bytes)
{
	const struct guarded ranges[] = {
		{ 0x40, 0x54 - 0x40 },    /* signature to type */
		{ 0x154, 8 },             /* where map and disk begin */
		{ 0x168, 4 },             /* sector size */
		{ 0x170, 0x188 - 0x170 }, /* size and blocks */
		{ MAP, 4 * blocks(l) },
	};

	return guard(&format_vdi, l, ranges, N_ELEMS(ranges), off, len, bytes);
}

const struct format format_vdi = {
	.number = 4,
	.name = "vdi",
	.ending = ".vdi",
	.layout = vdi_layout,
	.metadata = vdi_metadata,
	.check_write = vdi_check_write,
};

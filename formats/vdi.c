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
#define TYPE_DYNAMIC 1u
#define TYPE_STATIC 2u
#define ABSENT UINT32_MAX /* and no parent has it */

static uint64_t blocks(uint64_t guest)
{
	return guest / BLOCK + (guest % BLOCK != 0);
}

static bool can_hold(uint64_t guest, uint32_t sector_size)
{
	return guest > 0 && guest % SECTOR == 0 && sector_size == SECTOR &&
	       blocks(guest) <= BLOCKS_MAX;
}

static uint64_t prefix(uint64_t guest)
{
	return round_up(MAP + 4 * blocks(guest), BLOCK);
}

static int vdi_layout(uint64_t guest, uint32_t sector_size, struct layout *ret)
{
	if (!can_hold(guest, sector_size))
		return -EFBIG;
	*ret = (struct layout){ .guest = guest,
		.sector_size = sector_size,
		.prefix = prefix(guest),
		.disk = guest,
		.pad = blocks(guest) * BLOCK - guest };
	return 0;
}

static void header(const struct slice *s, const struct identity *id,
	uint32_t type, uint64_t guest, uint64_t allocated)
{
	static const char text[] = "<<< Oracle VM VirtualBox Disk Image >>>\n";
	struct uuid created = derive_uuid(id, "vdi");
	struct uuid modified = derive_uuid(id, "vdi modification");
	uint8_t b[HEADER] = { 0 };

	memcpy(b, text, sizeof(text));
	put_le32(b + 0x40, SIGNATURE);
	put_le32(b + 0x44, VERSION);
	put_le32(b + 0x48, HEADER_SIZE);              /* cbHeader */
	put_le32(b + 0x4c, type);                     /* u32Type */
	put_le32(b + 0x154, (uint32_t)MAP);           /* offBlocks */
	put_le32(b + 0x158, (uint32_t)prefix(guest)); /* offData */
	put_le32(b + 0x168, SECTOR);                  /* cbSector */
	put_le64(b + 0x170, guest);                   /* cbDisk */
	put_le32(b + 0x178, (uint32_t)BLOCK);         /* cbBlock */
	put_le32(b + 0x180, (uint32_t)blocks(guest)); /* cBlocks */
	put_le32(b + 0x184, (uint32_t)allocated);     /* cBlocksAllocated */
	memcpy(b + 0x188, created.b, sizeof(created.b));
	memcpy(b + 0x198, modified.b, sizeof(modified.b));
	put_le32(b + 0x1d4, SECTOR); /* of LCHSGeometry */
	slice_put(s, 0, b, sizeof(b));
}

static int vdi_metadata(const struct layout *l, const struct identity *id,
	const struct format_disk *d, uint64_t off, size_t len, uint8_t *out)
{
	struct slice s = slice_init(off, len, out);
	uint64_t n = blocks(l->guest);

	(void)d;
	if (slice_has(&s, 0, HEADER))
		header(&s, id, TYPE_STATIC, l->guest, n);
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
		{ MAP, 4 * blocks(l->guest) },
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

static int packed_layout(uint64_t guest, uint32_t sector_size,
	const struct present *present, struct packed *ret)
{
	if (!can_hold(guest, sector_size))
		return -EFBIG;
	*ret = (struct packed){ .guest = guest,
		.sector_size = sector_size,
		.block = BLOCK,
		.prefix = prefix(guest),
		.present = present };
	return 0;
}

static void packed_metadata(const struct packed *p, const struct identity *id,
	uint64_t off, size_t len, uint8_t *out)
{
	struct slice s = slice_init(off, len, out);
	uint64_t n = blocks(p->guest), end = slice_end(&s, MAP, 4, n);

	if (slice_has(&s, 0, HEADER))
		header(&s, id, TYPE_DYNAMIC, p->guest, p->present->n);
	for (uint64_t i = slice_first(&s, MAP, 4, n); i < end; i++) {
		uint8_t b[4];

		put_le32(b, present_has(p->present, i)
				    ? (uint32_t)present_before(p->present, i)
				    : ABSENT);
		slice_put(&s, MAP + 4 * i, b, sizeof(b));
	}
}

const struct packed_format packed_vdi = {
	.format = &format_vdi,
	.name = "dynamic",
	.block = BLOCK,
	.layout = packed_layout,
	.metadata = packed_metadata,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/vmdk_sparse.h"

#include <errno.h>

#include "formats/slice.h"
#include "formats/vmdk.h"

#define GUEST_MAX (UINT64_C(2) << 40)
#define ALIGN (UINT64_C(1) << 20)
#define DESCRIPTOR_AT VMDK_SECTOR
#define DESCRIPTOR (20 * VMDK_SECTOR)

#define NEWLINES_VALID 1u
#define HAS_COPY 2u /* of directory and tables */
#define COMPRESSED 0x10000u
#define HAS_MARKERS 0x20000u
#define AT_END UINT64_MAX /* the directory is: see the footer */

static uint64_t grains(uint64_t guest)
{
	return (guest + VMDK_GRAIN - 1) / VMDK_GRAIN;
}

static uint64_t tables(uint64_t guest)
{
	return (grains(guest) + VMDK_PER_TABLE - 1) / VMDK_PER_TABLE;
}

struct header {
	uint32_t version, flags, compression;
	uint64_t guest, copy, directory, begin; /* in bytes */
};

static void put_header(const struct header *h, uint8_t b[VMDK_SECTOR])
{
	memset(b, 0, VMDK_SECTOR);
	memcpy(b, "KDMV", 4);
	put_le32(b + 4, h->version);
	put_le32(b + 8, h->flags);
	put_le64(b + 12, h->guest / VMDK_SECTOR);      /* capacity */
	put_le64(b + 20, VMDK_GRAIN / VMDK_SECTOR);    /* grainSize */
	put_le64(b + 28, DESCRIPTOR_AT / VMDK_SECTOR); /* descriptorOffset */
	put_le64(b + 36, DESCRIPTOR / VMDK_SECTOR);    /* descriptorSize */
	put_le32(b + 44, VMDK_PER_TABLE);              /* numGTEsPerGT */
	put_le64(b + 48, h->copy / VMDK_SECTOR);       /* rgdOffset */
	put_le64(b + 56,
		h->directory == AT_END ? AT_END : h->directory / VMDK_SECTOR);
	put_le64(b + 64, h->begin / VMDK_SECTOR); /* overHead */
	memcpy(b + 73, "\n \r\n", 4);             /* were they translated? */
	put_le16(b + 77, (uint16_t)h->compression);
}

/* A directory and its tables, one behind the other. */
static uint64_t directory_len(uint64_t guest)
{
	return round_up(4 * tables(guest), VMDK_SECTOR);
}

static uint64_t index_len(uint64_t guest)
{
	return directory_len(guest) + tables(guest) * VMDK_TABLE;
}

#define COPY_AT (DESCRIPTOR_AT + DESCRIPTOR)

bool vmdk_stream_can_hold(uint64_t guest, uint32_t sector_size)
{
	return guest > 0 && guest <= GUEST_MAX && guest % VMDK_SECTOR == 0 &&
	       sector_size == VMDK_SECTOR;
}

static int sparse_layout(uint64_t guest, uint32_t sector_size,
	const struct present *present, struct packed *ret)
{
	struct packed p = { .guest = guest,
		.sector_size = sector_size,
		.block = VMDK_GRAIN,
		.prefix = round_up(COPY_AT + 2 * index_len(guest), ALIGN),
		.present = present };

	if (!vmdk_stream_can_hold(guest, sector_size) ||
		packed_size(&p) / VMDK_SECTOR > UINT32_MAX)
		return -EFBIG;
	*ret = p;
	return 0;
}

static void put_index(
	const struct slice *s, const struct packed *p, uint64_t at)
{
	uint64_t n = tables(p->guest), table = at + directory_len(p->guest);
	uint64_t end = slice_end(s, at, 4, n);
	uint8_t b[4];

	for (uint64_t i = slice_first(s, at, 4, n); i < end; i++) {
		put_le32(b, (uint32_t)((table + i * VMDK_TABLE) / VMDK_SECTOR));
		slice_put(s, at + 4 * i, b, sizeof(b));
	}
	n = grains(p->guest);
	end = slice_end(s, table, 4, n);
	for (uint64_t i = slice_first(s, table, 4, n); i < end; i++) {
		if (!present_has(p->present, i))
			continue;
		put_le32(b, (uint32_t)(packed_place(p, i) / VMDK_SECTOR));
		slice_put(s, table + 4 * i, b, sizeof(b));
	}
}

static void sparse_metadata(const struct packed *p, const struct identity *id,
	uint64_t off, size_t len, uint8_t *out)
{
	struct slice s = slice_init(off, len, out);
	uint64_t index = index_len(p->guest);

	if (slice_has(&s, 0, COPY_AT)) {
		const struct header h = { .version = 1,
			.flags = NEWLINES_VALID | HAS_COPY,
			.guest = p->guest,
			.copy = COPY_AT,
			.directory = COPY_AT + index,
			.begin = p->prefix };
		uint8_t b[COPY_AT];

		put_header(&h, b);
		vmdk_describe(p->guest, id, VMDK_SPARSE,
			(char *)b + DESCRIPTOR_AT, DESCRIPTOR);
		slice_put(&s, 0, b, sizeof(b));
	}
	put_index(&s, p, COPY_AT);
	put_index(&s, p, COPY_AT + index);
}

const struct packed_format packed_vmdk = {
	.format = &format_vmdk,
	.name = "monolithicSparse",
	.block = VMDK_GRAIN,
	.layout = sparse_layout,
	.metadata = sparse_metadata,
};

static void stream_header(
	uint64_t guest, uint64_t directory, uint8_t b[VMDK_SECTOR])
{
	const struct header h = { .version = 3,
		.flags = NEWLINES_VALID | COMPRESSED | HAS_MARKERS,
		.compression = 1, /* deflate */
		.guest = guest,
		.directory = directory,
		.begin = VMDK_STREAM_BEGIN };

	put_header(&h, b);
}

void vmdk_stream_head(
	uint64_t guest, const struct identity *id, uint8_t b[VMDK_STREAM_BEGIN])
{
	memset(b, 0, VMDK_STREAM_BEGIN);
	stream_header(guest, AT_END, b);
	vmdk_describe(
		guest, id, VMDK_STREAM, (char *)b + DESCRIPTOR_AT, DESCRIPTOR);
}

void vmdk_grain_marker(uint64_t off, uint32_t len, uint8_t b[VMDK_GRAIN_MARKER])
{
	put_le64(b, off / VMDK_SECTOR);
	put_le32(b + 8, len);
}

void vmdk_marker(enum vmdk_marker kind, uint64_t len, uint8_t b[VMDK_SECTOR])
{
	memset(b, 0, VMDK_SECTOR);
	put_le64(b, len / VMDK_SECTOR);
	put_le32(b + 12, kind);
}

void vmdk_stream_footer(
	uint64_t guest, uint64_t directory, uint8_t b[VMDK_SECTOR])
{
	stream_header(guest, directory, b);
}

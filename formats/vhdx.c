/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/vhdx.h"

#include <errno.h>

#include "formats/derive.h"
#include "formats/guard.h"
#include "formats/slice.h"
#include "src/crc32c.h"

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1) << 20)

/* Everything where Windows puts it. */
#define HEADER_AT (64 * KIB) /* the other one as far behind it */
#define HEADER_LEN 4096u
#define REGIONS_AT (192 * KIB) /* likewise */
#define REGIONS_LEN (64 * KIB)
#define LOG_AT MIB
#define LOG_LEN MIB
#define METADATA_AT (2 * MIB)
#define METADATA_LEN MIB
#define BAT_AT (3 * MIB)

#define FIXED_BLOCK (32 * MIB)
#define DYNAMIC_BLOCK (8 * MIB)
#define GUEST_MAX (UINT64_C(64) << 40)
#define ZERO 2u
#define FULLY_PRESENT 6u

/* of the metadata region: its items begin behind its table */
#define ITEMS (64 * KIB)

#define IS_USER_DISK 6u /* IsVirtualDisk, IsRequired */
#define IS_REQUIRED 4u
#define LEAVE_BLOCKS_ALLOCATED 1u

typedef uint8_t guid[16]; /* the first three fields are little-endian */

static const guid bat_guid = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
	0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08 };
static const guid metadata_guid = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a,
	0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e };
static const guid file_parameters = { 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43,
	0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b };
static const guid disk_size = { 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
	0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8 };
static const guid logical_sector = { 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09,
	0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f };
static const guid physical_sector = { 0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71,
	0x44, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56 };
static const guid page_83 = { 0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45,
	0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46 };

/* What a file is like, but for its identifiers and the places of blocks. */
struct shape {
	uint64_t guest;
	uint32_t sector_size;
	uint64_t block;
	uint32_t flags; /* File Parameters */
};

static uint64_t blocks(const struct shape *h)
{
	return (h->guest + h->block - 1) / h->block;
}

/* Behind so many blocks there is an entry for a bitmap, which is not there. */
static uint64_t chunk(const struct shape *h)
{
	return (UINT64_C(1) << 23) * h->sector_size / h->block;
}

static uint64_t entries(const struct shape *h)
{
	return blocks(h) + (blocks(h) - 1) / chunk(h);
}

static uint64_t prefix(const struct shape *h)
{
	return BAT_AT + round_up(8 * entries(h), MIB);
}

static bool can_hold(uint64_t guest, uint32_t sector_size)
{
	return guest > 0 && guest <= GUEST_MAX && guest % sector_size == 0;
}

static struct shape fixed(uint64_t guest, uint32_t sector_size)
{
	return (struct shape){ guest, sector_size, FIXED_BLOCK,
		LEAVE_BLOCKS_ALLOCATED };
}

static int vhdx_layout(uint64_t guest, uint32_t sector_size, struct layout *ret)
{
	struct shape h = fixed(guest, sector_size);

	if (!can_hold(guest, sector_size))
		return -EFBIG;
	*ret = (struct layout){ .guest = guest,
		.sector_size = sector_size,
		.prefix = prefix(&h),
		.disk = guest,
		/* readers want the last block whole */
		.pad = blocks(&h) * h.block - guest };
	return 0;
}

static void file_identifier(const struct slice *s)
{
	static const char creator[] = "hivefs";
	uint8_t b[8 + 2 * (sizeof(creator) - 1)] = "vhdxfile";

	for (size_t i = 0; i < sizeof(creator) - 1; i++)
		put_le16(b + 8 + 2 * i, (uint16_t)creator[i]);
	slice_put(s, 0, b, sizeof(b));
}

/* Header I of two: the second one is newer. */
static void header(const struct slice *s, const struct identity *id, unsigned i)
{
	struct uuid file = derive_uuid(id, "vhdx file");
	struct uuid data = derive_uuid(id, "vhdx data");
	uint8_t b[HEADER_LEN] = "head";

	put_le64(b + 8, i + 1);                 /* SequenceNumber */
	memcpy(b + 16, file.b, sizeof(file.b)); /* FileWriteGuid */
	memcpy(b + 32, data.b, sizeof(data.b)); /* DataWriteGuid */
	/* 48: LogGuid 0: nothing to replay; 64: LogVersion 0 */
	put_le16(b + 66, 1);                      /* Version */
	put_le32(b + 68, (uint32_t)LOG_LEN);      /* LogLength */
	put_le64(b + 72, LOG_AT);                 /* LogOffset */
	put_le32(b + 4, crc32c(0, b, sizeof(b))); /* Checksum */
	slice_put(s, HEADER_AT * (i + 1), b, sizeof(b));
}

static void put_region(
	uint8_t b[32], const guid name, uint64_t off, uint64_t len)
{
	memcpy(b, name, sizeof(guid));
	put_le64(b + 16, off);
	put_le32(b + 24, (uint32_t)len);
	put_le32(b + 28, 1); /* Required: VirtualBox insists */
}

/* Table I of two that are the same. */
static void region_table(
	const struct slice *s, const struct shape *h, unsigned i)
{
	uint8_t b[16 + 2 * 32] = "regi";
	uint32_t sum;

	put_le32(b + 8, 2); /* EntryCount */
	put_region(b + 16, bat_guid, BAT_AT, prefix(h) - BAT_AT);
	put_region(b + 48, metadata_guid, METADATA_AT, METADATA_LEN);
	sum = crc32c(0, b, sizeof(b));
	put_le32(b + 4, crc32c_zeroes(sum, REGIONS_LEN - sizeof(b)));
	slice_put(s, REGIONS_AT + i * REGIONS_LEN, b, sizeof(b));
}

struct item {
	const uint8_t *name;
	uint32_t len, flags;
	uint8_t value[16];
};

#define ITEM_FIRST 16u /* as long as the longest: each has its own slot */

static void metadata_region(
	const struct slice *s, const struct shape *h, const struct identity *id)
{
	struct uuid uuid = derive_uuid(id, "vhdx disk");
	struct item items[] = {
		{ file_parameters, 8, IS_REQUIRED, { 0 } },
		{ disk_size, 8, IS_USER_DISK, { 0 } },
		{ page_83, 16, IS_USER_DISK, { 0 } },
		{ logical_sector, 4, IS_USER_DISK, { 0 } },
		{ physical_sector, 4, IS_USER_DISK, { 0 } },
	};
	uint8_t table[32 + 32 * N_ELEMS(items)] = "metadata";
	uint8_t values[16 * N_ELEMS(items)];

	put_le32(items[0].value, (uint32_t)h->block);
	put_le32(items[0].value + 4, h->flags);
	put_le64(items[1].value, h->guest);
	memcpy(items[2].value, uuid.b, sizeof(uuid.b));
	put_le32(items[3].value, h->sector_size);
	put_le32(items[4].value, h->guest % 4096 ? 512 : 4096);
	put_le16(table + 10, N_ELEMS(items)); /* EntryCount */
	for (size_t i = 0; i < N_ELEMS(items); i++) {
		uint8_t *b = table + 32 + 32 * i;

		memcpy(b, items[i].name, sizeof(guid));
		put_le32(b + 16, (uint32_t)(ITEMS + 16 * i)); /* Offset */
		put_le32(b + 20, items[i].len);
		put_le32(b + 24, items[i].flags);
		memcpy(values + 16 * i, items[i].value, 16);
	}
	slice_put(s, METADATA_AT, table, sizeof(table));
	slice_put(s, METADATA_AT + ITEMS, values, sizeof(values));
}

/* Of block I: where P has it, or where it would be anyway. */
static uint64_t block_entry(
	const struct shape *h, const struct packed *p, uint64_t i)
{
	if (!p)
		return (prefix(h) + i * h->block) | FULLY_PRESENT;
	return present_has(p->present, i) ? packed_place(p, i) | FULLY_PRESENT
					  : ZERO;
}

static void bat(
	const struct slice *s, const struct shape *h, const struct packed *p)
{
	uint64_t n = entries(h), per = chunk(h) + 1;
	uint64_t end = slice_end(s, BAT_AT, 8, n);

	for (uint64_t i = slice_first(s, BAT_AT, 8, n); i < end; i++) {
		uint8_t b[8];

		if (i % per == per - 1)
			continue; /* of a bitmap */
		put_le64(b, block_entry(h, p, i - i / per));
		slice_put(s, BAT_AT + 8 * i, b, sizeof(b));
	}
}

static void make(const struct slice *s, const struct shape *h,
	const struct identity *id, const struct packed *p)
{
	if (slice_has(s, 0, HEADER_AT))
		file_identifier(s);
	for (unsigned i = 0; i < 2; i++) {
		if (slice_has(s, HEADER_AT * (i + 1), HEADER_LEN))
			header(s, id, i);
		if (slice_has(s, REGIONS_AT + i * REGIONS_LEN, REGIONS_LEN))
			region_table(s, h, i);
	}
	if (slice_has(s, METADATA_AT, METADATA_LEN))
		metadata_region(s, h, id);
	if (slice_has(s, BAT_AT, prefix(h) - BAT_AT))
		bat(s, h, p);
}

static int vhdx_metadata(const struct layout *l, const struct identity *id,
	const struct format_disk *d, uint64_t off, size_t len, uint8_t *out)
{
	struct slice s = slice_init(off, len, out);
	struct shape h = fixed(l->guest, l->sector_size);

	(void)d;
	make(&s, &h, id, NULL);
	return 0;
}

/*
 * Headers and log are written by whoever opens the file, but not what they are
 * known by and where the log is; a log that was replayed shows in the table.
 */
static int vhdx_check_write(
	const struct layout *l, uint64_t off, size_t len, const uint8_t *bytes)
{
	struct shape h = fixed(l->guest, l->sector_size);
	uint64_t items = METADATA_AT + ITEMS;
	const struct guarded ranges[] = {
		{ 0, 8 }, /* signatures */
		{ HEADER_AT, 4 },
		{ 2 * HEADER_AT, 4 },
		{ HEADER_AT + 64, 16 }, /* versions; length and place of log */
		{ 2 * HEADER_AT + 64, 16 },
		{ REGIONS_AT, 2 * REGIONS_LEN },
		{ METADATA_AT + 32, 2 * 32 }, /* where the two are of blocks */
		{ items, 2 * 16 },            /* and of the disk */
		{ METADATA_AT + 32 + 3 * 32, 32 }, /* and of logical sectors */
		{ items + 3 * 16, 16 },
		{ BAT_AT, 8 * entries(&h) },
	};

	return guard(&format_vhdx, l, ranges, N_ELEMS(ranges), off, len, bytes);
}

const struct format format_vhdx = {
	.number = 3,
	.name = "vhdx",
	.ending = ".vhdx",
	.layout = vhdx_layout,
	.metadata = vhdx_metadata,
	.check_write = vhdx_check_write,
};

static struct shape dynamic(uint64_t guest, uint32_t sector_size)
{
	return (struct shape){ guest, sector_size, DYNAMIC_BLOCK, 0 };
}

static int packed_layout(uint64_t guest, uint32_t sector_size,
	const struct present *present, struct packed *ret)
{
	struct shape h = dynamic(guest, sector_size);

	if (!can_hold(guest, sector_size))
		return -EFBIG;
	*ret = (struct packed){ .guest = guest,
		.sector_size = sector_size,
		.block = DYNAMIC_BLOCK,
		.prefix = prefix(&h),
		.present = present };
	return 0;
}

static void packed_metadata(const struct packed *p, const struct identity *id,
	uint64_t off, size_t len, uint8_t *out)
{
	struct slice s = slice_init(off, len, out);
	struct shape h = dynamic(p->guest, p->sector_size);

	make(&s, &h, id, p);
}

const struct packed_format packed_vhdx = {
	.format = &format_vhdx,
	.name = "dynamic",
	.block = DYNAMIC_BLOCK,
	.layout = packed_layout,
	.metadata = packed_metadata,
};

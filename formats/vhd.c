/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/vhd.h"

#include <errno.h>

#include "formats/derive.h"
#include "formats/slice.h"

#define SECTOR 512u
#define FOOTER 512u
#define SECTORS_MAX UINT64_C(0xff000000) /* 2040 GiB */
#define YEAR_2000 INT64_C(946684800)

#define FEATURES_RESERVED 2u /* "must always be set" */
#define TYPE_FIXED 2u
#define TYPE_DYNAMIC 3u

#define HEADER_AT 512u
#define HEADER 1024u
#define TABLE 1536u
#define BLOCK (UINT64_C(2) << 20)
#define BITMAP 512u /* a bit for each sector of a block */
#define ABSENT UINT32_MAX

static bool can_hold(uint64_t guest, uint32_t sector_size)
{
	return guest > 0 && guest % SECTOR == 0 && sector_size == SECTOR &&
	       guest / SECTOR <= SECTORS_MAX;
}

static int vhd_layout(uint64_t guest, uint32_t sector_size, struct layout *ret)
{
	if (!can_hold(guest, sector_size))
		return -EFBIG;
	*ret = (struct layout){ .guest = guest,
		.sector_size = sector_size,
		.disk = guest,
		.suffix = FOOTER };
	return 0;
}

/* The specification's appendix "CHS calculation"; as the footer's field. */
static uint32_t geometry(uint64_t sectors)
{
	uint64_t total = MIN_OF(sectors, UINT64_C(65535) * 16 * 255);
	uint64_t per_track, heads = 16, tracks;

	if (total >= UINT64_C(65535) * 16 * 63) {
		per_track = 255;
	} else {
		per_track = 17;
		tracks = total / per_track;
		heads = MAX_OF((tracks + 1023) / 1024, UINT64_C(4));
		if (tracks >= heads * 1024 || heads > 16) {
			per_track = 31;
			heads = 16;
		}
		if (total / per_track >= heads * 1024) {
			per_track = 63;
			heads = 16;
		}
	}
	return (uint32_t)(total / per_track / heads << 16 | heads << 8 |
			  per_track);
}

static uint32_t seconds_since_2000(int64_t time)
{
	return time < YEAR_2000 ? 0 : (uint32_t)(time - YEAR_2000);
}

/* Of a structure whose field for it is zero. */
static uint32_t checksum(const uint8_t *b, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += b[i];
	return ~sum;
}

static void footer(uint64_t guest, const struct identity *id, uint32_t type,
	uint8_t b[FOOTER])
{
	struct uuid uuid = derive_uuid(id, "vhd");

	memset(b, 0, FOOTER);
	memcpy(b, "conectix", 8);           /* Cookie */
	put_be32(b + 8, FEATURES_RESERVED); /* Features */
	put_be32(b + 12, 0x00010000);       /* Version */
	put_be64(b + 16,
		type == TYPE_FIXED ? UINT64_MAX : HEADER_AT); /* Data Offset */
	put_be32(b + 24, seconds_since_2000(id->time));       /* Time Stamp */
	/* of an application it does not know qemu takes the geometry for the
	 * size: it is less */
	memcpy(b + 28, "win ", 4);                  /* Creator App */
	put_be32(b + 32, 0x000a0000);               /* its version */
	memcpy(b + 36, "Wi2k", 4);                  /* Creator Host OS */
	put_be64(b + 40, guest);                    /* Original Size */
	put_be64(b + 48, guest);                    /* Current Size */
	put_be32(b + 56, geometry(guest / SECTOR)); /* Disk Geometry */
	put_be32(b + 60, type);                     /* Disk Type */
	memcpy(b + 68, uuid.b, sizeof(uuid.b));     /* Unique Id */
	put_be32(b + 64, checksum(b, FOOTER));      /* Checksum */
}

static int vhd_metadata(const struct layout *l, const struct identity *id,
	const struct format_disk *d, uint64_t off, size_t len, uint8_t *out)
{
	struct slice s = slice_init(off, len, out);
	uint8_t b[FOOTER];

	(void)d;
	footer(l->guest, id, TYPE_FIXED, b);
	slice_put(&s, l->disk, b, sizeof(b));
	return 0;
}

const struct format format_vhd = {
	.number = 2,
	.name = "vhd",
	.ending = ".vhd",
	.layout = vhd_layout,
	.metadata = vhd_metadata,
};

static uint64_t blocks(uint64_t guest)
{
	return (guest + BLOCK - 1) / BLOCK;
}

static int packed_layout(uint64_t guest, uint32_t sector_size,
	const struct present *present, struct packed *ret)
{
	if (!can_hold(guest, sector_size))
		return -EFBIG;
	*ret = (struct packed){ .guest = guest,
		.sector_size = sector_size,
		.block = BLOCK,
		.lead = BITMAP,
		.prefix = round_up(TABLE + 4 * blocks(guest), SECTOR),
		.suffix = FOOTER,
		.present = present };
	return 0;
}

static void dynamic_header(const struct slice *s, uint64_t n_blocks)
{
	uint8_t b[HEADER] = "cxsparse";

	put_be64(b + 8, UINT64_MAX);              /* Data Offset */
	put_be64(b + 16, TABLE);                  /* Table Offset */
	put_be32(b + 24, 0x00010000);             /* Header Version */
	put_be32(b + 28, (uint32_t)n_blocks);     /* Max Table Entries */
	put_be32(b + 32, (uint32_t)BLOCK);        /* Block Size */
	put_be32(b + 36, checksum(b, sizeof(b))); /* Checksum */
	slice_put(s, HEADER_AT, b, sizeof(b));
}

/* Entries are the sectors at which the bitmaps of blocks begin. */
static void table(const struct slice *s, const struct packed *p)
{
	uint64_t n = (p->prefix - TABLE) / 4; /* what fills it up is absent */
	uint64_t end = slice_end(s, TABLE, 4, n);

	for (uint64_t i = slice_first(s, TABLE, 4, n); i < end; i++) {
		uint32_t at = ABSENT;
		uint8_t b[4];

		if (i < p->present->n_blocks && present_has(p->present, i))
			at = (uint32_t)((packed_place(p, i) - BITMAP) / SECTOR);
		put_be32(b, at);
		slice_put(s, TABLE + 4 * i, b, sizeof(b));
	}
}

static void packed_metadata(const struct packed *p, const struct identity *id,
	uint64_t off, size_t len, uint8_t *out)
{
	struct slice s = slice_init(off, len, out);
	uint8_t b[FOOTER];

	footer(p->guest, id, TYPE_DYNAMIC, b);
	slice_put(&s, 0, b, sizeof(b));
	slice_put(&s, packed_blocks_end(p), b, sizeof(b));
	dynamic_header(&s, blocks(p->guest));
	table(&s, p);
}

const struct packed_format packed_vhd = {
	.format = &format_vhd,
	.name = "dynamic",
	.block = BLOCK,
	.layout = packed_layout,
	.metadata = packed_metadata,
};

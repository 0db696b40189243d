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

static int vhd_layout(uint64_t guest, uint32_t sector_size, struct layout *ret)
{
	if (guest == 0 || guest % SECTOR || sector_size != SECTOR ||
		guest / SECTOR > SECTORS_MAX)
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

static void footer(
	const struct layout *l, const struct identity *id, uint8_t b[FOOTER])
{
	struct uuid uuid = derive_uuid(id, "vhd");
	uint32_t sum = 0;

	memset(b, 0, FOOTER);
	memcpy(b, "conectix", 8);                       /* Cookie */
	put_be32(b + 8, FEATURES_RESERVED);             /* Features */
	put_be32(b + 12, 0x00010000);                   /* Version */
	put_be64(b + 16, UINT64_MAX);                   /* Data Offset */
	put_be32(b + 24, seconds_since_2000(id->time)); /* Time Stamp */
	/* of an application it does not know qemu takes the geometry for the
	 * size: it is less */
	memcpy(b + 28, "win ", 4);                     /* Creator App */
	put_be32(b + 32, 0x000a0000);                  /* its version */
	memcpy(b + 36, "Wi2k", 4);                     /* Creator Host OS */
	put_be64(b + 40, l->guest);                    /* Original Size */
	put_be64(b + 48, l->guest);                    /* Current Size */
	put_be32(b + 56, geometry(l->guest / SECTOR)); /* Disk Geometry */
	put_be32(b + 60, TYPE_FIXED);                  /* Disk Type */
	memcpy(b + 68, uuid.b, sizeof(uuid.b));        /* Unique Id */
	for (size_t i = 0; i < FOOTER; i++)
		sum += b[i];
	put_be32(b + 64, ~sum); /* Checksum */
}

static int vhd_metadata(const struct layout *l, const struct identity *id,
	const struct format_disk *d, uint64_t off, size_t len, uint8_t *out)
{
	struct slice s = slice_init(off, len, out);
	uint8_t b[FOOTER];

	(void)d;
	footer(l, id, b);
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

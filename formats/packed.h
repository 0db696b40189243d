/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packed - image files that hold only the blocks of a disk that are not all
 * zeroes, one behind the other:
 *   [prefix: metadata]([lead][block])…[suffix: metadata]
 * They take no more than what they hold wherever they are copied to, but a
 * write to one would have to move things: for files of their own, not views.
 *
 * Units      bytes.
 * Threads    immutable; any thread.
 *
 * A new one is a row in packed.c; tests loop over the rows.
 */
#ifndef HIVEFS_PACKED_H
#define HIVEFS_PACKED_H

#include "formats/format.h"
#include "formats/present.h"

struct packed {
	uint64_t guest;
	uint32_t sector_size;
	uint64_t block;  /* of the disk, the last one too */
	uint64_t lead;   /* before each block: all ones */
	uint64_t prefix; /* before the first one */
	uint64_t suffix;
	const struct present *present; /* borrowed */
};

struct packed_format {
	const struct format *format; /* of which it is the other kind */
	const char *name;            /* of the kind: "dynamic", … */
	uint64_t block;

	/*
	 * PRESENT tells of blocks of this size, and was counted. -EFBIG,
	 * quietly, if the format cannot hold it.
	 */
	int (*layout)(uint64_t guest, uint32_t sector_size,
		const struct present *present, struct packed *ret);

	/* Writes LEN bytes at OFF, within the prefix or within the suffix. */
	void (*metadata)(const struct packed *p, const struct identity *id,
		uint64_t off, size_t len, uint8_t *out);
};

/* Row I; NULL behind the last. */
const struct packed_format *packed_at(size_t i);

/* Where block I, which is there, has its first byte. */
static inline uint64_t packed_place(const struct packed *p, uint64_t i)
{
	return p->prefix + p->lead +
	       present_before(p->present, i) * (p->lead + p->block);
}

static inline uint64_t packed_blocks_end(const struct packed *p)
{
	return p->prefix + p->present->n * (p->lead + p->block);
}

static inline uint64_t packed_size(const struct packed *p)
{
	return packed_blocks_end(p) + p->suffix;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format - how a disk's bytes are dressed as an image file. Pure: no I/O, no
 * clock, no randomness; the same question always has the same answer (I4).
 *
 * Every format is one layout:
 *   [prefix: metadata][the disk, linear][pad: zeroes][suffix: metadata]
 * so a view is those lengths and a function that makes the metadata's bytes,
 * any of them without the others: the block table of a 64 TiB disk is never
 * built as a whole.
 *
 * Units      bytes.
 * Threads    immutable; any thread.
 *
 * A new format is a new file, a row in format.c and a line in meson.build;
 * tests loop over the rows.
 */
#ifndef HIVEFS_FORMAT_H
#define HIVEFS_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/blk.h"
#include "src/uuid.h"

struct layout {
	uint64_t guest;       /* length of the disk, as the guest sees it */
	uint32_t sector_size; /* of the disk: 512 or 4096 */
	uint64_t prefix;      /* before the disk's first byte */
	uint64_t disk;   /* GUEST; 0 where another file has the disk's bytes */
	uint64_t pad;    /* zeroes behind it; a write there is metadata */
	uint64_t suffix; /* behind those */
};

/* What may not be told by a disk's bytes; the same for ever for one view. */
struct identity {
	struct uuid id;   /* of (point or clone, disk) */
	int64_t time;     /* UTC seconds */
	const char *name; /* of the disk: its views are NAME and an ending */
	bool vmfs;        /* the VMDK descriptor is for ESXi */
};

/*
 * Which ranges of the disk hold data, for formats that leave the others out. As
 * `extent` of struct blk_ops: what begins at OFF, within LEN.
 */
struct format_disk {
	int (*extent)(
		void *arg, uint64_t off, uint64_t len, struct blk_extent *ret);
	void *arg;
};

struct format {
	uint8_t number;   /* in records of clones: the space; never changes */
	bool read_only;   /* cannot be written to without breaking its layout */
	const char *name; /* "raw", … : for people and options */
	/* ".img", "-flat.vmdk", … : of a view's file name, behind the disk's */
	const char *ending;
	/* If given, this row only names another one's file again. */
	const struct format *same_as;
	/* A file without disk bytes, of which the length may change up to it.
	 */
	uint64_t max_size;

	/* -EFBIG, quietly, if this format cannot hold such a disk. */
	int (*layout)(uint64_t guest, uint32_t sector_size, struct layout *ret);

	/*
	 * Writes LEN bytes of metadata at file offset OFF, all of it within the
	 * prefix, or all within pad and suffix. NULL where there is none. D is
	 * NULL if any of the disk may be data, now or later. Fails with what D
	 * failed with, or -ENOMEM, logged; never without D.
	 */
	int (*metadata)(const struct layout *l, const struct identity *id,
		const struct format_disk *d, uint64_t off, size_t len,
		uint8_t *out);

	/*
	 * Of a file with MAX_SIZE: do these bytes, all of it, still lead to the
	 * disk? NULL: any do.
	 */
	bool (*leads)(const uint8_t *bytes, size_t len);

	/*
	 * May these bytes of prefix, pad or suffix be overwritten so? -EIO,
	 * quietly, if the disk would no longer be where the layout has it.
	 * NULL where any may.
	 */
	int (*check_write)(const struct layout *l, uint64_t off, size_t len,
		const uint8_t *bytes);
};

/* Row I, in the order views are listed; NULL behind the last. */
const struct format *format_at(size_t i);

/* By its name ("raw") or ending without the dot ("img"); NULL if none is. */
const struct format *format_find(const char *name);

static inline uint64_t layout_size(const struct layout *l)
{
	return l->prefix + l->disk + l->pad + l->suffix;
}

#endif

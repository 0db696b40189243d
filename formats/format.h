/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format - how a disk's bytes are dressed as an image file. Pure: no I/O, no
 * clock, no randomness; the same question always has the same answer (I4).
 *
 * Every format is one layout:
 *   [prefix: metadata][the disk, linear][pad][suffix: metadata]
 * so a view is those lengths and a function that makes the metadata's bytes.
 *
 * Units      bytes.
 * Threads    immutable; any thread.
 *
 * A new format is a new file, a row in format.c and a line in meson.build;
 * tests loop over the rows.
 */
#ifndef HIVEFS_FORMAT_H
#define HIVEFS_FORMAT_H

#include <stddef.h>
#include <stdint.h>

struct layout {
	uint64_t prefix; /* before the disk's first byte */
	uint64_t disk;   /* length of the disk */
	uint64_t suffix; /* behind it, padding included */
};

struct format {
	const char *name;      /* "raw", … : for people and options */
	const char *extension; /* "img", … : of a view's file name */

	/* -EFBIG, quietly, if this format cannot hold such a disk. */
	int (*layout)(uint64_t disk, struct layout *ret);

	/*
	 * Writes LEN bytes of metadata at file offset OFF, all of it within
	 * the prefix or all within the suffix. NULL where there is none.
	 */
	void (*metadata)(
		const struct layout *l, uint64_t off, size_t len, uint8_t *out);
};

/* Row I, in the order views are listed; NULL behind the last. */
const struct format *format_at(size_t i);

static inline uint64_t layout_size(const struct layout *l)
{
	return l->prefix + l->disk + l->suffix;
}

#endif

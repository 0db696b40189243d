/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slice - the part of a file's metadata that was asked for. A format says where
 * its structures are; the slice takes what is in it of them.
 *
 * Units      bytes; offsets in the file.
 * Ownership  borrows what it is written to.
 */
#ifndef HIVEFS_SLICE_H
#define HIVEFS_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "src/bytes.h"

struct slice {
	uint64_t off;
	size_t len;
	uint8_t *out;
};

/* All zeroes at first. */
static inline struct slice slice_init(uint64_t off, size_t len, uint8_t *out)
{
	memset(out, 0, len);
	return (struct slice){ off, len, out };
}

/* Is any of the LEN bytes at AT in it? */
static inline bool slice_has(const struct slice *s, uint64_t at, uint64_t len)
{
	return at < s->off + s->len && s->off < at + len;
}

/* DATA is LEN bytes of the file at AT. */
static inline void slice_put(
	const struct slice *s, uint64_t at, const void *data, size_t len)
{
	uint64_t from = MAX_OF(at, s->off);
	uint64_t to = MIN_OF(at + len, s->off + s->len);

	if (from < to)
		memcpy(s->out + (from - s->off),
			(const uint8_t *)data + (from - at), to - from);
}

/* Of a table at AT with N entries of UNIT bytes: the first one that is in it.
 */
static inline uint64_t slice_first(
	const struct slice *s, uint64_t at, size_t unit, uint64_t n)
{
	return MIN_OF(s->off > at ? (s->off - at) / unit : 0, n);
}

/* And the end of those that are. */
static inline uint64_t slice_end(
	const struct slice *s, uint64_t at, size_t unit, uint64_t n)
{
	uint64_t end = s->off + s->len;

	return MIN_OF(end > at ? (end - at + unit - 1) / unit : 0, n);
}

#endif

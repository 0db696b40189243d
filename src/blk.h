/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk - bytes at offsets: what a backup reads, a point gives back and a
 * restore writes. The first, middle and last link of the data path are of this
 * one type, so that each stage is tested against the one before it by
 * blk_compare().
 *
 * Units      bytes; ranges half-open, within [0, size).
 * Ownership  whoever opened it closes it with blk_close().
 * Threads    pread and extent: any thread. pwrite, zero and flush: any thread,
 *            ranges that overlap are the callers' affair.
 * Errors     logged by the implementation, naming the blk and the offset.
 */
#ifndef HIVEFS_BLK_H
#define HIVEFS_BLK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/cleanup.h"

enum blk_kind {
	BLK_DATA, /* must be read to be known */
	BLK_ZERO, /* known to read as zeroes: a hole, or told so */
	BLK_LOST, /* a dying source or a repair could not give it */
};

struct blk_extent {
	uint64_t len; /* > 0 */
	enum blk_kind kind;
};

struct blk;

struct blk_ops {
	/* All of [off, off + len) or an error; never short. */
	int (*pread)(struct blk *b, void *buf, size_t len, uint64_t off);

	/* NULL where read-only. */
	int (*pwrite)(struct blk *b, const void *buf, size_t len, uint64_t off);

	/* Makes the range read as zeroes, without space where it can. */
	int (*zero)(struct blk *b, uint64_t off, uint64_t len);

	/*
	 * What begins at OFF: its kind, and for how far that is known within
	 * LEN; as far as is cheap to tell.
	 */
	int (*extent)(struct blk *b, uint64_t off, uint64_t len,
		struct blk_extent *ret);

	/* All that was written survives power loss when it returns 0. */
	int (*flush)(struct blk *b);

	/*
	 * Looks again at what must not change under a reader (size, times,
	 * a lost connection). 1 if it is no longer what was opened. May be
	 * NULL.
	 */
	int (*changed)(struct blk *b);

	void (*close)(struct blk *b);
};

/* Embedded first in an implementation's own struct; immutable after open. */
struct blk {
	const struct blk_ops *ops;
	char *name; /* for messages; owned */
	uint64_t size;
	uint32_t sector_size; /* logical: 512 or 4096 */
};

int must_check blk_pread(struct blk *b, void *buf, size_t len, uint64_t off);
int must_check blk_pwrite(
	struct blk *b, const void *buf, size_t len, uint64_t off);
int must_check blk_zero(struct blk *b, uint64_t off, uint64_t len);
int must_check blk_extent(
	struct blk *b, uint64_t off, uint64_t len, struct blk_extent *ret);
int must_check blk_flush(struct blk *b);
int must_check blk_changed(struct blk *b);
void blk_close(struct blk *b);
DEFINE_CLEANUP(struct blk *, blk_close);

/*
 * 0 if both hold the same bytes; 1 and the first differing offset if not.
 * A size that differs is a difference at the end of the shorter one.
 */
int must_check blk_compare(struct blk *a, struct blk *b, uint64_t *ret_off);

#endif

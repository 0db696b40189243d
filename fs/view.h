/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view - a file that shows a disk in one format:
 *   [prefix: metadata][the disk, linear][suffix: metadata]
 *
 * Units      bytes; ranges half-open.
 * Ownership  counted: view_open() returns one reference, view_put() drops one.
 * Threads    immutable after open; any thread.
 * Errors     of disk.h.
 */
#ifndef HIVEFS_VIEW_H
#define HIVEFS_VIEW_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "formats/format.h"
#include "repo/disk.h"
#include "repo/point.h"

struct view {
	const struct format *format;
	struct layout layout;
	struct disk *disk;
	_Atomic unsigned n_refs;
};

/* Disk number DISK of P; borrows the cache only. */
int must_check view_open(struct cache *c, const struct point *p, uint32_t disk,
	const struct format *f, struct view **ret);
struct view *view_ref(struct view *v);
void view_put(struct view *v);

/* Most reads are one or two pieces; those of 1 MiB have 16. */
#define VIEW_FEW 24

/* The bytes of a read, where they lie: nothing is copied. */
struct view_read {
	size_t n;
	struct iovec *iov; /* few, or owned */
	struct iovec few[VIEW_FEW];
	struct pieces pieces;
	uint8_t *metadata; /* owned, or NULL */
};

/*
 * The LEN bytes at OFF, fewer at the end of the file and none behind it. RET is
 * not to be moved; view_read_fini() when its bytes have been used.
 */
int must_check view_read(
	struct view *v, uint64_t off, size_t len, struct view_read *ret);
void view_read_fini(struct view_read *r);

/*
 * lseek(2) with SEEK_DATA or SEEK_HOLE. Metadata and what a backup could not
 * read are data. -ENXIO, quietly, as there.
 */
int must_check view_seek(
	struct view *v, uint64_t off, int whence, uint64_t *ret);

#endif

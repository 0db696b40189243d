/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view - a file that shows a disk in one format:
 *   [prefix: metadata][the disk, linear][pad, suffix: metadata]
 *
 * The disk is a point's, which never changes, or a clone's. Of a clone's own
 * point, before there is a clone, it is the point's until somebody writes.
 *
 * Units      bytes; ranges half-open.
 * Ownership  counted: view_open() returns one reference, view_put() drops one.
 * Threads    any thread.
 * Errors     of disk.h and live.h.
 */
#ifndef HIVEFS_VIEW_H
#define HIVEFS_VIEW_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "formats/format.h"
#include "fs/branch.h"
#include "fs/peek.h"
#include "repo/disk.h"
#include "repo/point.h"

/* How files are shown, where there is a choice. */
struct view_style {
	bool vmfs; /* VMDK descriptors as ESXi wants them */
};

struct view {
	const struct format *format;
	struct layout layout;
	struct identity identity;
	struct disk *disk;     /* of a point; NULL of a clone with a name */
	struct branch *branch; /* of a clone, else NULL */
	uint32_t number;       /* of the disk in it */
	bool writes;           /* may be written to: the branch is ours */
	bool peeks;            /* the clone was there and not ours */
	struct peek peek;      /* if so */
	char *name;            /* of the disk, and whose; owned: for messages */
	char *disk_name;       /* owned */
	atomic_bool refused;   /* something was, and was logged */
	_Atomic unsigned n_refs;
};

/* Disk number DISK of P; borrows the cache only. */
int must_check view_open(struct cache *c, const struct point *p, uint32_t disk,
	const struct format *f, const struct view_style *style,
	struct view **ret);

/*
 * The same of a clone; P is the point that it is the own clone of, or NULL.
 * WRITES makes it ours, and makes it at all; -EBUSY is told here, not later.
 */
int must_check view_open_clone(struct branches *all, const struct uuid *clone,
	const struct point *p, uint32_t disk, const struct format *f,
	const struct view_style *style, bool writes, struct view **ret);
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

/* Decodes chunks of a range of the disk ahead of whoever will read it. */
void view_prefetch(struct view *v, uint64_t off, uint64_t len);

/*
 * lseek(2) with SEEK_DATA or SEEK_HOLE. Metadata and what a backup could not
 * read are data. -ENXIO, quietly, as there.
 */
int must_check view_seek(
	struct view *v, uint64_t off, int whence, uint64_t *ret);

/* The clone's disk if the clone is ours, or NULL. */
struct live *view_live(const struct view *v);

/* Of the disk: what begins at OFF and how far it goes, within END. */
int must_check view_extent(
	struct view *v, uint64_t off, uint64_t end, struct blk_extent *ret);

struct part {
	uint64_t off, len;
};

/* What [off, end) has in common with [from, to). */
static inline struct part part_within(
	uint64_t off, uint64_t end, uint64_t from, uint64_t to)
{
	off = off > from ? off : from;
	end = end < to ? end : to;
	return (struct part){ off, off < end ? end - off : 0 };
}

#endif

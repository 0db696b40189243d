/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restore - writes a disk of a point or clone somewhere else, in parallel, or
 * in order where there is only one direction.
 *
 * What is read was compared with its digest on the way (repo/cache.h). Lost
 * ranges become zeroes and are listed.
 *
 * Threads    one call at a time; it runs threads of its own.
 * Memory     n_threads x 4 MiB, and the disk's cache.
 */
#ifndef HIVEFS_RESTORE_H
#define HIVEFS_RESTORE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "repo/live.h"
#include "tools/lost.h"

struct restore {
	struct disk *disk; /* NULL: */
	struct live *live;
	const char *name;   /* of the disk, for the list of lost ranges */
	unsigned n_threads; /* at least 1 */
	const _Atomic bool *cancel;
	_Atomic uint64_t *done;    /* bytes of the disk, added to */
	_Atomic uint64_t *written; /* bytes that had to be written, likewise */
	struct lost_ranges *lost;  /* added to */
	/*
	 * NULL: what cannot be read ends the restore. Otherwise it becomes
	 * zeroes and is added here, a chunk or a window at a time.
	 */
	struct lost_ranges *damaged;
};

/*
 * TO is at least as large as the disk. FRESH: it reads as zeroes, so zeroes
 * are skipped; otherwise they are made. COMPARE: what is there is read first,
 * and only what differs is written.
 */
int must_check restore_to_blk(
	const struct restore *job, struct blk *to, bool fresh, bool compare);

/* What it reads: its length, what begins at OFF within END, and bytes. */
uint64_t restore_size(const struct restore *job);
int must_check restore_extent(const struct restore *job, uint64_t off,
	uint64_t end, struct blk_extent *ret);
int must_check restore_read(const struct restore *job, uint64_t off,
	uint64_t len, struct pieces *ret);

/* From the first byte to the last; zeroes are written too. */
int must_check restore_to_fd(
	const struct restore *job, int fd, const char *name);

#endif

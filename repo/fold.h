/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fold - what was written to a clone's disks goes from their streams into new
 * maps, and the clone's document moves on to those by one swap.
 *
 * The fold registers as a writer under the version it read, before it relies on
 * anything (gc.pml), and starts over with a fresh registration when the swap
 * fails. One that dies, meets a full store or loses its fence harms nothing:
 * the stream is still there and the next fold does it again.
 *
 * Threads    one fold of a clone at a time, beside readers and writers.
 */
#ifndef HIVEFS_FOLD_H
#define HIVEFS_FOLD_H

#include <stdatomic.h>

#include "repo/live.h"

#define FOLD_THREADS_MAX 16u

/* Looked at and changed while it goes on. */
struct fold_control {
	_Atomic bool stop;          /* -ECANCELED, quietly, before long */
	_Atomic uint64_t done, all; /* windows */
};

struct fold {
	struct repo *repo;
	struct clone *clone; /* as last read or swapped; moves on */
	struct live **disks; /* of its disks, in their order */
	unsigned n_threads;  /* 1 … FOLD_THREADS_MAX */
	/* windows with fewer pages written stay in the stream, if all of them
	 * together are few; 0: fold everything */
	unsigned sparse_pages;
	struct fold_control *control;
};

struct fold_stats {
	uint64_t windows, carried;
	uint64_t touched;       /* bytes of chunks that were written to */
	uint64_t read;          /* bytes looked at to cut anew */
	uint64_t fresh, stored; /* bytes of new chunks; as stored */
};

void fold_stats_add(struct fold_stats *all, const struct fold_stats *more);

/*
 * Folds what is frozen: the caller froze it, and sees to it that nobody else
 * folds. STATS has room for one per disk.
 */
int must_check fold(const struct fold *f, struct fold_stats *stats);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper - two threads of an open clone: one that syncs what was written, asked
 * for or not, and one that has it folded while it is within bounds.
 *
 * Bounds, of all disks together: folding begins at 256 MiB of stream or 32 MiB
 * of overlay, and at 128 MiB once nothing was written for 5 s; writers wait at
 * 512 MiB or 128 MiB. While a fold is under way they may write 128 MiB at once,
 * and what is left up to the bound as fast as it gets on: many short waits
 * instead of one long one. So opening a clone replays 512 MiB, and 64 MiB that
 * a fold may have carried along.
 *
 * Why 512 MiB: 1 GiB takes more than a second to read from a disk that gives
 * 0.9 GB/s, and half of it is as much of a burst as most guests make.
 *
 * A writer waits only for a fold that gets somewhere: at the bound it is
 * refused once one has failed, or has ended well and let go of nothing, until
 * another one did. That is said once.
 *
 * Ownership  borrows the disks.
 * Threads    any thread, but start and stop.
 * Errors     of the fold; -ENOSPC, or -EIO, to writers at the bound.
 */
#ifndef HIVEFS_KEEPER_H
#define HIVEFS_KEEPER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "repo/fold.h"
#include "repo/live.h"

struct keeper {
	struct live **disks; /* these four are set by who starts it */
	size_t n_disks;
	int (*fold)(void *arg); /* 0, or why there was none */
	void *arg;
	struct fold_control control; /* of the fold under way */
	_Atomic uint64_t frozen;     /* bytes it lets go of; 0: there is none */
	_Atomic int failed;          /* what the last one ended with */
	_Atomic bool refusing;       /* writes, and that was said */
	_Atomic bool stop, asked, dirty;
	_Atomic uint64_t unflushed; /* bytes since writing them out was begun */
	sem_t fold_wake, sync_wake;
	pthread_t folder, syncer;
	unsigned n_threads;
};

int must_check keeper_start(struct keeper *k);
/* A fold under way is given up, which harms nothing. */
void keeper_stop(struct keeper *k);

struct live_load keeper_load(const struct keeper *k);

/* Before a write: waits while more is unfolded than the bounds allow. */
int must_check keeper_admit(struct keeper *k);
/* After one. */
void keeper_wrote(struct keeper *k, uint64_t len);

/* Around a fold, by whoever folds. */
void keeper_fold_begin(struct keeper *k);
void keeper_fold_end(struct keeper *k, int result);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open_clone - a clone that this process owns: its disks, live, and a keeper
 * that syncs them and has them folded.
 *
 * Ownership  open_clone_take() returns owned, borrows the cache.
 * Threads    any thread, but open_clone_close().
 * Errors     -EBUSY, logged, naming who has it; of live.h and fold.h.
 */
#ifndef HIVEFS_OPEN_CLONE_H
#define HIVEFS_OPEN_CLONE_H

#include "repo/fold.h"
#include "repo/live.h"

struct open_clone;

/* Takes over all its streams, or none. */
int must_check open_clone_take(struct cache *c, const struct uuid *id,
	const struct stream_owner *owner, struct open_clone **ret);

/* Syncs, and lets go of it. What is unfolded stays so. */
void open_clone_close(struct open_clone *o);
DEFINE_CLEANUP(struct open_clone *, open_clone_close);

/*
 * Drops the clone while its streams are ours, so that nobody can have taken it
 * over meanwhile, and closes it, whatever is returned.
 */
int must_check open_clone_discard(struct open_clone *o);

/* Disk number I, in the order of the point's. */
struct live *open_clone_disk(struct open_clone *o, size_t i);
size_t open_clone_disks(const struct open_clone *o);

/* As the functions of keeper.h: what a writer calls before and after. */
int must_check open_clone_admit(struct open_clone *o);
void open_clone_wrote(struct open_clone *o, uint64_t len);

/* A fold that is under way: windows in all, and how many are done; or 0, 0. */
void open_clone_folding(
	const struct open_clone *o, uint64_t *ret_all, uint64_t *ret_done);

/* What folds of it did, of all its disks, since it is ours. */
struct fold_stats open_clone_folded(struct open_clone *o);

/* Was anything ever written to any of its disks? */
bool open_clone_written(struct open_clone *o);

/*
 * One cut across all disks, in the order of every disk's writes, becomes a new
 * point of the machine; the clone goes on from there. Writers wait for the
 * cut, not for the rest.
 */
int must_check open_clone_commit(struct open_clone *o, struct point *ret);

#endif

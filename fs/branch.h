/* SPDX-License-Identifier: Apache-2.0 */
/*
 * branch - the clones that files of this mount are open of. All handles of one
 * clone share one branch, so that what is written through one of them is what
 * all others read from then on; those too that were there before the clone was.
 *
 * A clone becomes ours when a file of it is first opened for writing, and stays
 * so until the last file of it is closed. Then it is synced and let go of, or
 * discarded if it has no name and nothing was ever written to it.
 *
 * Ownership  branch_get() returns one reference, branch_put() drops one; while
 *            there is any, what branch_open() returned stays.
 * Threads    any thread. A branch's turn is held while it is taken or let go
 *            of, across I/O; branches->lock is for moments.
 * Errors     -EBUSY: another process has it, logged with who; -ENOENT,
 *            quietly: there is no such clone; of open_clone.h.
 */
#ifndef HIVEFS_BRANCH_H
#define HIVEFS_BRANCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "formats/format.h"
#include "fs/glance.h"
#include "repo/open_clone.h"

struct branches {
	struct cache *cache;
	struct stream_owner owner; /* us */
	pthread_mutex_t lock;      /* after branch->turn */
	struct branch *first;      /* lock */
	struct fold_stats folded;  /* lock; of those that are let go of */
	bool many_writers; /* of a disk in several formats; set at the start */
	struct glances glances; /* of those that are not ours */
};

/* PLACE is where it is mounted. */
void branches_init(struct branches *all, struct cache *c, const char *place);
/* All branches were put. */
void branches_fini(struct branches *all);

struct branch;

/* ID is that of a clone, which need not exist. */
int must_check branch_get(struct branches *all, const struct uuid *id,
	bool has_name, struct branch **ret);
void branch_put(struct branch *b);

/* It as ours, or NULL as long as it is not. */
struct open_clone *branch_open(const struct branch *b);

/*
 * Makes it ours. Where there is no such clone, POINT is forked for it; NULL:
 * -ENOENT. Waits a moment for another mount that is about to let go of it.
 */
int must_check branch_take(struct branch *b, const struct point *point);

/*
 * One format at a time is written of a disk: any number of handles of it (or
 * any, as many_writers says). A file without the disk's bytes is in nobody's
 * way.
 * Another waits a moment for a pending release, then gets -EBUSY, logged. The
 * branch is ours.
 */
int must_check branch_write_begin(
	struct branch *b, size_t disk, const struct format *f);
/* True if no other handle of a file without the disk's bytes is left. */
bool branch_write_end(struct branch *b, size_t disk, const struct format *f);

/* It was written to just now. */
void branch_changed(struct branch *b);

/* Drops the clone: -EBUSY, quietly, while any file of it is open here. */
int must_check branch_discard(struct branch *b);

/* Of one that is open: what stat wants to know of a disk. False: it is not. */
struct branch_disk {
	uint64_t size;
	uint32_t sector_size;
	uint64_t data;   /* live_data() */
	int64_t changed; /* seconds since 1970; if ever since it is ours, else
			    when the clone was made */
	struct glance_lengths lengths;
};
bool branches_disk(struct branches *all, const struct uuid *id, size_t disk,
	struct branch_disk *ret);

struct branch_info {
	struct uuid id;
	char text[512];   /* clone_text() */
	unsigned handles; /* files that are open, requests under way */
	bool written;
	struct live_load load;          /* of all disks */
	uint64_t folding, folding_done; /* windows */
	struct fold_stats folded;
};
/* The one of ID, if it is ours. */
bool branches_find(
	struct branches *all, const struct uuid *id, struct branch_info *ret);
/* What folds did since it was mounted, of those that are no longer ours. */
struct fold_stats branches_folded(struct branches *all);

/* Visits those that are ours; the visit does no I/O. */
void branches_list(struct branches *all,
	void (*visit)(void *arg, const struct branch_info *info), void *arg);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_arg - whose disks an operand means: ADDRESS of a point, or the name of a
 * clone that nobody has open, or one disk of either.
 *
 * Ownership  a `struct disk_arg` owns what it holds: disk_arg_fini().
 * Threads    one thread.
 */
#ifndef HIVEFS_DISK_ARG_H
#define HIVEFS_DISK_ARG_H

#include "repo/address.h"
#include "repo/clone.h"
#include "repo/live.h"

struct disk_arg {
	struct repo *repo;
	struct address address;
	struct clone clone; /* if it has a name, what is meant; its disks are
			     * those of address.point */
};

/* Logged; of a clone that is open -EBUSY. disk_arg_fini() in any case. */
int must_check disk_arg_resolve(
	struct repo *r, const char *text, struct disk_arg *ret);
void disk_arg_fini(struct disk_arg *a);

/* What to type to get it; owned. No memory: it exits. */
char *disk_arg_text(const struct disk_arg *a);

/*
 * One of address.point's disks: exactly one of RET_DISK and RET_LIVE is set,
 * the other stays NULL. Borrows the cache.
 */
int must_check disk_arg_open(const struct disk_arg *a, struct cache *c,
	const struct point_disk *d, struct disk **ret_disk,
	struct live **ret_live);

#endif

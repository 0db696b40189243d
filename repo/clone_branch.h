/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clone_branch - a clone of a clone: the same maps, and a copy of what is in
 * its streams. Nothing of the other one changes, and somebody else may have it
 * open and write to it.
 *
 * Threads    one thread.
 */
#ifndef HIVEFS_CLONE_BRANCH_H
#define HIVEFS_CLONE_BRANCH_H

#include "repo/clone.h"
#include "repo/stream.h"

/*
 * NAME, which US is about to open, for this process only: as
 * clone_fork_temporary(). FROM is taken as it is now, all its disks at one
 * instant; in MongoDB without what was written but milliseconds ago and not
 * synced. -EBUSY, logged: it has several disks and is written to without a
 * pause; -ENOENT, quietly: it is gone.
 */
int must_check clone_branch_temporary(struct repo *r, const struct clone *from,
	const char *name, const struct stream_owner *us, struct clone *ret);

#endif

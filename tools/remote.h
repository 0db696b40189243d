/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote - a mount that has a clone open does with it what a verb wants: asked
 * through extended attributes of the clone's directory in the mount.
 *
 * Threads    one thread.
 */
#ifndef HIVEFS_REMOTE_H
#define HIVEFS_REMOTE_H

#include "repo/clone.h"
#include "repo/stream.h"

/*
 * Commits C, which O has. -EBUSY, logged: that is no mount that can be asked
 * here; others are what the commit there ended with, logged.
 */
int must_check remote_commit(struct repo *r, const struct clone *c,
	const struct stream_owner *o, struct point *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clone_whole - is anything that a clone's maps name known to be damaged?
 *
 * Nothing but maps is read, and nothing at all while the quarantine is empty;
 * that is what makes it cheap enough for every commit.
 *
 * Threads    one thread at a time.
 */
#ifndef HIVEFS_CLONE_WHOLE_H
#define HIVEFS_CLONE_WHOLE_H

#include "repo/clone.h"
#include "repo/quarantine.h"

/*
 * -EBADMSG, logged with the first place and how many there are, if what Q names
 * is still missing and C as it is stored reaches it.
 */
int must_check clone_whole(
	struct repo *r, const struct clone *c, const struct quarantine *q);

#endif

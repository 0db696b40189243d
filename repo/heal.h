/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heal - what was found damaged or missing goes to the quarantine, from where
 * the next backup that contains the same bytes brings it back.
 *
 * A document is read once more before it is moved, and removed only where its
 * incarnation is the one that was read: what a backup has stored anew meanwhile
 * stays. The entry in the quarantine comes first, so that whoever dies between
 * the two leaves nothing that a writer would rely on.
 *
 * Threads    one thread.
 * Errors     of store.h.
 */
#ifndef HIVEFS_HEAL_H
#define HIVEFS_HEAL_H

#include "repo/damage.h"

struct heal_result {
	uint64_t n_moved;  /* to the quarantine, now */
	uint64_t n_healed; /* whole again, and taken out of it */
};

/*
 * R is open for writing. Moves what D has, and takes out of the quarantine what
 * is whole again.
 */
int must_check heal(
	struct repo *r, const struct damage *d, struct heal_result *ret);

/*
 * The same with what a glance tells is gone (store_gone()), for a writer that
 * has registered: what was in a file that is lost would be taken over from a
 * parent, or found to exist, by the index alone: then a point is published that
 * nobody can restore. What else is damaged verify has to find.
 */
int must_check heal_gone(struct repo *r, uint64_t *ret_moved);

#endif

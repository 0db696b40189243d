/* SPDX-License-Identifier: Apache-2.0 */
/*
 * label - what may change about a point, by compare-and-swap.
 *
 * No label document means: nothing special about it.
 */
#ifndef HIVEFS_LABEL_H
#define HIVEFS_LABEL_H

#include <stdbool.h>
#include <stdint.h>

#include "repo/point.h"

#define LABEL_MARKS_MAX 1000 /* bytes of all of them */

struct label {
	uint64_t version; /* 0: there is no document yet */
	bool removed;
	int64_t hold_until; /* seconds since 1970, UTC; 0: no hold */
	/* tags, and bookmarks with a # before them, with a blank between two */
	char marks[LABEL_MARKS_MAX + 1];
};

bool label_has(const struct label *l, const char *mark);

/* 1: changed; 0: it was so. -E2BIG, logged: too many of them. */
int must_check label_add(struct label *l, const char *mark);
int must_check label_take(struct label *l, const char *mark);

int must_check label_get(
	struct repo *r, const struct point_id *id, struct label *ret);

/*
 * Reads, changes and swaps until the swap succeeds, then syncs. CHANGE may be
 * called again on a newer label; what it returns other than 0 ends it.
 */
int must_check label_update(struct repo *r, const struct point_id *id,
	int (*change)(void *arg, struct label *l), void *arg);

/*
 * Keeps it from being removed before UNTIL. -EPERM, logged: it is held for
 * longer already, and that is not taken back. -ENOENT, quietly, if it was
 * removed.
 */
int must_check point_hold(
	struct repo *r, const struct point_id *id, int64_t until);

/*
 * Marks a point removed; its space is gc's affair. -EPERM, logged, while a
 * hold lasts or it has a clone of its own; -ENOENT, quietly, if it is removed
 * already.
 */
int must_check point_remove(struct repo *r, const struct point_id *id);

/* What point_remove() would return now. */
int must_check point_removable(struct repo *r, const struct point_id *id);

/* Of a point that has become a tombstone: its label means nothing any more. */
int must_check label_drop(
	struct repo *r, const struct point_id *id, const struct label *l);

/*
 * Has a point_remove() that is under way look again, as something that keeps
 * the point is in the store since. -ENOENT, quietly: it came too late.
 */
int must_check point_keep(struct repo *r, const struct point_id *id);

#endif

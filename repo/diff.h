/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diff - where two disks differ, by their maps alone: equal subtrees are
 * skipped unread, so it costs what changed, not what there is.
 */
#ifndef HIVEFS_DIFF_H
#define HIVEFS_DIFF_H

#include "repo/disk.h"

/*
 * Visits ranges [off, off + len) in order, those of one kind not touching each
 * other, that hold other bytes in B than in A; KIND is what B has there. Behind
 * the end of the shorter one everything differs (BLK_ZERO where B ended).
 * Ranges are those of whole chunks, so a range may hold equal pages too. What
 * both lost is not known to differ. A visit that returns other than 0 ends it
 * with that value.
 */
typedef int (*diff_visit)(
	void *arg, uint64_t off, uint64_t len, enum blk_kind kind);
int must_check diff_disks(
	struct disk *a, struct disk *b, diff_visit visit, void *arg);

/* The bytes of B in windows that differ, as `changed` of a point has it. */
int must_check diff_changed(struct disk *a, struct disk *b, uint64_t *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * live_fold - what folding does to a live disk. What was written so far is
 * frozen while the disk is held, and the disk goes on on top of it;
 * live_thaw() is when a clone document with the new root is in the store: then
 * the frozen layer is let go of, and so is the stream before the cut. A fold
 * that fails leaves it frozen, for the next one.
 *
 * Threads    one fold at a time, beside readers and writers.
 */
#ifndef HIVEFS_LIVE_FOLD_H
#define HIVEFS_LIVE_FOLD_H

#include "repo/live.h"

struct overlay;

void live_hold(struct live *l); /* no write until live_unhold() */
void live_unhold(struct live *l);

/* Held. 1: there is a frozen layer. */
int must_check live_freeze(struct live *l);
const struct overlay *live_frozen(struct live *l);
uint64_t live_cut(const struct live *l); /* sequence number */

/* The disk as it was at the cut; ROOT is the map below it. */
int must_check live_read_frozen(struct live *l, struct disk *root, uint64_t off,
	uint32_t len, uint8_t *buf);

/* Takes a window's frozen pages over to the layer above, instead of folding. */
int must_check live_carry(struct live *l, uint64_t window);

/* Appends what views keep anew, so that the stream before the cut can go. */
int must_check live_carry_side(struct live *l);

int must_check live_thaw(struct live *l, const struct digest *root);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listing - the keys of a collection, seen to agree with the store's own count
 * of it (I5). An index that lost a key makes a listing that looks like any
 * other; whoever acts on what is *not* listed must not take it on trust.
 *
 * Threads    any thread.
 */
#ifndef HIVEFS_LISTING_H
#define HIVEFS_LISTING_H

#include "repo/store.h"
#include "src/vec.h"

struct keys vec(struct key);

/*
 * RET, which is emptied first, gets the keys in order. Others may write
 * meanwhile, so it looks again before it says that the two disagree.
 * 0: they agree. 1: it was changed all the time, so nothing was compared.
 * -EBADMSG, logged: they disagree; RET holds what there is.
 */
int must_check listing_read(struct store *s, enum coll c, struct keys *ret);

/*
 * Does what a list of all points is made of agree: machines, points, labels?
 * -EBADMSG, logged, if not; 0 also if it was changed all the time.
 */
int must_check listing_check(struct store *s);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index_agree - whether an index may be changed. Of a wrong bit a document can
 * vanish, or be the one that was replaced. Who then puts another in its place
 * has lost it for good, for of two in the journal the later one counts; and of
 * a row of the segments that is an older one, bytes that were published are cut
 * off. So what is in the index is compared with its counts, which are kept in
 * the same transactions, before the first change in the life of a process.
 * Chunks and maps are not: they are named by what they hold.
 *
 * Threads    any thread.
 * Errors     -EBADMSG names the remedy.
 */
#ifndef HIVEFS_INDEX_AGREE_H
#define HIVEFS_INDEX_AGREE_H

#include "repo/index.h"

int must_check index_agree(struct index *ix);

#endif

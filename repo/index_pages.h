/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index_pages - whether the pages that a change of the index is about to touch
 * make sense. LMDB copies a page to the heap to change it and believes what
 * stands in its head: of one with a single wrong bit there it writes past the
 * copy (measured: glibc ends the process, or nobody notices). So before each
 * change the way to its key is walked in the state that the transaction began
 * with, and each page on it is looked at once in the life of the process.
 *
 * Ownership  part of its index.
 * Threads    the one that is in a write transaction.
 * Errors     -EBADMSG names the remedy.
 */
#ifndef HIVEFS_INDEX_PAGES_H
#define HIVEFS_INDEX_PAGES_H

#include "repo/index.h"
#include "repo/index_page.h"

struct index_pages {
	struct page_file file;
	uint8_t *seen; /* bit n: page n has been looked at; SEEN_LEN bytes */
	size_t seen_len;
	bool began;
	/* only where the first transaction begins */
	uint8_t *taken;   /* bit n: page n is free, or of a tree */
	uint64_t n_known; /* pages, free or of a tree */
	/* of the state the transaction began with */
	uint64_t txn, last;
	uint64_t root[INDEX_N_DBS];
};

/*
 * At the begin of a write transaction: what names the trees, and the lists of
 * free pages, which LMDB takes from. In the first one also that no page of the
 * trees that are small is of an older state.
 */
int must_check index_pages_begin(struct index *ix, MDB_txn *txn);

/* Before KEY is put into database DB, or REMOVEd from it. */
int must_check index_pages_check(
	struct index *ix, unsigned db, const MDB_val *key, bool remove);

void index_pages_fini(struct index_pages *p);

#endif

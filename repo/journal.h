/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal - the segment that changes of single documents are appended to,
 * inside write transactions of the index: there is one writer at a time, across
 * processes, and what it appends is on disk before its transaction commits.
 *
 * Threads    whoever is in the write transaction.
 * Errors     -ENOSPC quietly; -ENOENT quietly where the journal is full or
 *            there is none (journal_next()); the rest is logged.
 */
#ifndef HIVEFS_JOURNAL_H
#define HIVEFS_JOURNAL_H

#include "repo/embedded.h"

struct journal {
	struct embedded *e;
	bool begun, ended;
	bool full;     /* begin another */
	bool io_error; /* likewise */
	struct segment_row row;
	struct index_state state;
	uint64_t begin; /* where it ended before */
	struct segment_append append;
};

void journal_init(struct journal *j, struct embedded *e);

/* Once for all records of a transaction, when the first one comes. */
int must_check journal_begin(struct journal *j, struct index_txn *t);

/*
 * REC gets its place and, if FRESH, the next order; otherwise it keeps the one
 * it has: it is a copy of an older record.
 */
int must_check journal_append(
	struct journal *j, struct record *rec, const void *body, bool fresh);

/* On disk, and in the table; at once if nothing was appended. */
int must_check journal_end(struct journal *j, struct index_txn *t);

/* Gives back what was appended and not ended. */
void journal_fini(struct journal *j);

/* Has a call failed so that another journal may help? */
bool journal_failed(const struct journal *j);

/*
 * In a transaction of its own: the next segment for changes. After an I/O ERROR
 * in the old one, what was written there may or may not be on disk; orders go
 * on above it, so that whatever is acknowledged from now on is the later one.
 */
int must_check journal_next(struct embedded *e, bool io_error);

#endif

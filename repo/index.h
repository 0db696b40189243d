/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index - where each document lies, in LMDB. Derived from the segments and
 * rebuilt from them (store_repair.c), but for writers and condemned, which live
 * here alone. LMDB has no checksums and changes or loses values under bit rot
 * without a word (measured), so each value carries its own; a key that vanishes
 * is caught by the counts, kept in the same transactions.
 *
 * A read transaction is held for look-ups only, never across segment I/O or a
 * visit: it pins every page freed since.
 *
 * Units      bytes.
 * Ownership  index_open() returns owned. What an entry's body points to is
 *            valid until its transaction ends.
 * Threads    any thread; a transaction belongs to one. A thread never holds
 * two. Errors     -ENOSPC is quiet (the caller may have a reserve), -ENOENT
 * too; the rest is logged. -EBADMSG names the remedy.
 */
#ifndef HIVEFS_INDEX_H
#define HIVEFS_INDEX_H

#include <lmdb.h>

#include "repo/store.h"
#include "src/vec.h"

struct entry {
	uint32_t segment; /* 0: the body is in the index */
	uint32_t len;     /* of the body */
	uint64_t off;     /* of the record */
	uint64_t version;
	uint64_t generation;
	const void *body; /* NULL unless it is in the index */
};

struct index_state {
	uint32_t next_segment; /* ids from here on were never used */
	uint32_t journal;      /* the segment changes go to; 0: none yet */
	uint64_t order;        /* the next change's */
};

struct segment_row {
	uint32_t id;
	bool sealed;        /* nothing is appended any more */
	bool journal;       /* written inside write transactions only */
	uint16_t colls;     /* bit c: may hold documents of collection c */
	uint64_t committed; /* the file up to here; 0: not created yet */
	uint64_t live;      /* bytes of records the index points to */
};
struct segment_rows vec(struct segment_row);

/* True for the collections whose documents are in the index alone. */
static inline bool coll_is_content(enum coll c)
{
	return c == COLL_CHUNKS || c == COLL_MAPS;
}

static inline bool coll_is_inline(enum coll c)
{
	return c == COLL_WRITERS || c == COLL_CONDEMNED;
}

struct index;

/* Makes an empty one in the directory DIR, which must exist and be empty. */
int must_check index_create(const char *dir, const struct uuid *uuid);

enum index_flags {
	INDEX_READ_ONLY = 1,
	INDEX_NO_LOCK = 2, /* nobody can write: a read-only file system */
};
int must_check index_open(const char *dir, const struct uuid *uuid,
	unsigned flags, struct index **ret);
void index_close(struct index *ix);
DEFINE_CLEANUP(struct index *, index_close);

/* Every committed transaction survives power loss after this. */
int must_check index_sync(struct index *ix);

#define INDEX_N_DBS (N_COLLS + 3)

struct index_txn {
	struct index *ix;
	MDB_txn *txn;
	/* changes not yet written to the database */
	struct store_count count[N_COLLS];
	uint16_t count_changed; /* bit c */
	uint32_t live_segment;  /* 0: none */
	uint64_t live_change;   /* modulo 2^64 */
};

int must_check index_read(struct index *ix, struct index_txn *ret);
void index_read_end(struct index_txn *t);

/*
 * Runs fn in a write transaction and commits if it returns 0; otherwise nothing
 * of it happened and its value is returned. FN may be run more than once.
 */
int must_check index_update(
	struct index *ix, int (*fn)(struct index_txn *t, void *arg), void *arg);

int must_check index_get(struct index_txn *t, enum coll c,
	const struct key *key, struct entry *ret);

/*
 * Change one document, the counts and the live bytes of segments. -EEXIST
 * quietly. OLD is what index_get() gave in this transaction.
 */
int must_check index_insert(struct index_txn *t, enum coll c,
	const struct key *key, const struct entry *e);
int must_check index_replace(struct index_txn *t, enum coll c,
	const struct key *key, const struct entry *old, const struct entry *e);
int must_check index_remove(struct index_txn *t, enum coll c,
	const struct key *key, const struct entry *old);

int must_check index_count(
	struct index_txn *t, enum coll c, struct store_count *ret);

int must_check index_state(struct index_txn *t, struct index_state *ret);
int must_check index_set_state(
	struct index_txn *t, const struct index_state *state);

/* Puts what was gathered where index_count() sees it; a commit does, too. */
int must_check index_flush(struct index_txn *t);

/* Segment table. -ENOENT quietly. */
int must_check index_row(
	struct index_txn *t, uint32_t id, struct segment_row *ret);
int must_check index_set_row(
	struct index_txn *t, const struct segment_row *row);
int must_check index_remove_row(struct index_txn *t, uint32_t id);
int must_check index_rows(struct index_txn *t, struct segment_rows *ret);
/* The same in a transaction of its own. */
int must_check index_list_rows(struct index *ix, struct segment_rows *ret);

/*
 * Keys in order. Zero-initialise all but the first four members; index_scan()
 * goes on where the last call ended, in any later transaction.
 */
struct index_scan {
	enum coll coll;
	bool reverse;
	const struct key *prefix;                       /* NULL: all */
	bool (*want)(void *arg, const struct entry *e); /* NULL: each */
	void *want_arg;
	bool begun, done;
	struct key last;
};

struct index_item {
	struct key key;
	struct entry at; /* a body in it is owned, and malloc'ed */
};

/* Up to MAX more, their number in ret_n; `done` tells that there are no more.
 */
int must_check index_scan(struct index_txn *t, struct index_scan *s,
	struct index_item *items, size_t max, size_t *ret_n);
void index_items_fini(struct index_item *items, size_t n);

/*
 * A database for the time of a rebuild, begun and ended by index_update().
 * -ENOENT quietly.
 */
int must_check index_scratch_begin(struct index_txn *t, void *arg);
int must_check index_scratch_end(struct index_txn *t, void *arg);
int must_check index_scratch_get(struct index_txn *t, const void *key,
	size_t key_len, void *ret, size_t len);
int must_check index_scratch_put(struct index_txn *t, const void *key,
	size_t key_len, const void *value, size_t len);
int must_check index_scratch_each(struct index_txn *t,
	int (*fn)(struct index_txn *t, const uint8_t *key, size_t key_len,
		const void *value, size_t len));

/* What `struct entry` says of a document. */
struct doc entry_doc(enum coll c, const struct key *key, const struct entry *e);

/* Room in a segment of a document's record. */
uint64_t entry_record_len(const struct key *key, const struct entry *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index_db - inside of the index: its LMDB environment, and LMDB's error codes
 * turned into ours. index.c has the environment and transactions, index_docs.c
 * what is stored, index_scan.c the way through it in order.
 */
#ifndef HIVEFS_INDEX_DB_H
#define HIVEFS_INDEX_DB_H

#include <pthread.h>

#include "repo/index.h"
#include "repo/index_pages.h"

/* Databases beyond the collections', which have the collection's number. */
enum { DB_STATE = N_COLLS, DB_SEGMENTS, DB_COUNTS, DB_SCRATCH };

#define INDEX_FORMAT 1

/* quiet, between here and index_update(): the map has to grow */
#define INDEX_MAP_FULL (-EXFULL)

struct index {
	char *dir;
	MDB_env *env;
	MDB_dbi dbi[INDEX_N_DBS + 1]; /* and scratch */
	struct uuid uuid;
	bool read_only;
	/* held for reading during a transaction, for writing to change the
	 * size of the map */
	pthread_rwlock_t map_lock;
	pthread_mutex_t lock;
	bool sync_failed;         /* lock */
	unsigned n_updates;       /* lock */
	MDB_txn *idle[8];         /* lock; reset read transactions */
	unsigned n_idle;          /* lock */
	struct index_pages pages; /* of who is in a write transaction */
	_Atomic bool agreed;      /* see index_agree.h */
};

const char *index_db_name(unsigned db);

/* A negative errno for what LMDB said of WHAT; 0 for MDB_SUCCESS. */
int index_error(const struct index *ix, int rc, const char *what);

/* A value that fails its checksum or makes no sense. */
int index_damaged(const struct index *ix, const char *what);

/* Checks and decodes a document's value. */
int must_check index_entry(struct index_txn *t, enum coll c, const MDB_val *key,
	const MDB_val *v, struct entry *ret);

/* Puts the first state; checks the one that is there. */
int must_check index_init(struct index_txn *t);
int must_check index_check(struct index_txn *t);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_mongo - the store in a MongoDB server, replica set or sharded cluster:
 * a collection for each kind of document. It needs no transactions of several
 * documents. FORMAT.md, "Store in MongoDB", is normative.
 *
 * Threads and errors are those of store.h.
 */
#ifndef HIVEFS_STORE_MONGO_H
#define HIVEFS_STORE_MONGO_H

#include "repo/store.h"

struct mongo;
struct mongo_row;

bool mongo_is_url(const char *url);
int must_check mongo_create(const char *url, const struct uuid *uuid);
bool mongo_exists(const char *url);
int must_check mongo_open(const char *url, unsigned flags, struct store **ret);

/* The rows of the table of stores: store_mongo_{read,write,change}.c */
int mongo_get_many(struct store *s, enum coll c, const struct key *keys,
	size_t n, struct doc *ret, int *ret_err);
int mongo_head_many(struct store *s, enum coll c, const struct key *keys,
	size_t n, struct doc *ret);
int mongo_exists_many(struct store *s, enum coll c, const struct key *keys,
	size_t n, bool *ret);
int mongo_scan(struct store *s, enum coll c, const struct key *prefix,
	unsigned flags, store_visit visit, void *arg);
int mongo_walk(struct store *s, enum coll c, unsigned n_threads,
	store_walk_visit visit, void *arg);
int mongo_count(struct store *s, enum coll c, struct store_count *ret);
int mongo_insert_many(
	struct store *s, const struct doc *docs, size_t n, bool *ret_inserted);
int mongo_insert(struct store *s, const struct doc *doc);
int mongo_replace(struct store *s, const struct doc *doc, uint64_t old_version);
int mongo_remove(
	struct store *s, enum coll c, const struct key *key, uint64_t version);
int mongo_change_many(struct store *s, struct store_change *changes, size_t n);

/* What is under each key, with the number of its last change; key.len 0: none.
 */
int mongo_heads(struct mongo *m, enum coll c, const struct key *keys, size_t n,
	struct mongo_row *ret);

/* Each is in afterwards, or there was another one: RET_DUP. In one message. */
int mongo_insert_docs(struct mongo *m, enum coll c, const struct doc **docs,
	size_t n, bool *ret_dup);

#endif

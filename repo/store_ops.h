/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_ops - the table of stores: what a new kind of store has to provide.
 * store.c checks arguments and calls through it; the contract of each call is
 * that of the function of the same name in store.h.
 */
#ifndef HIVEFS_STORE_OPS_H
#define HIVEFS_STORE_OPS_H

#include "repo/stream.h"

struct store_ops {
	unsigned depth; /* requests worth having on their way; 0: any number */
	void (*close)(struct store *s);
	int (*get_many)(struct store *s, enum coll c, const struct key *keys,
		size_t n, struct doc *ret, int *ret_err);
	int (*head_many)(struct store *s, enum coll c, const struct key *keys,
		size_t n, struct doc *ret);
	int (*exists_many)(struct store *s, enum coll c, const struct key *keys,
		size_t n, bool *ret);
	int (*insert_many)(struct store *s, const struct doc *docs, size_t n,
		bool *ret_inserted);
	int (*insert)(struct store *s, const struct doc *doc);
	int (*replace)(
		struct store *s, const struct doc *doc, uint64_t old_version);
	int (*remove)(struct store *s, enum coll c, const struct key *key,
		uint64_t version);
	int (*change_many)(
		struct store *s, struct store_change *changes, size_t n);
	int (*scan)(struct store *s, enum coll c, const struct key *prefix,
		unsigned flags, store_visit visit, void *arg);
	int (*walk)(struct store *s, enum coll c, unsigned n_threads,
		store_walk_visit visit, void *arg);
	int (*gone)(struct store *s, store_visit visit,
		void *arg); /* may be NULL */
	int (*sync)(struct store *s);
	bool (*alone)(struct store *s); /* may be NULL */
	void (*tidy)(struct store *s);  /* may be NULL */
	int (*compact)(struct store *s, _Atomic uint64_t *done,
		_Atomic uint64_t *total, const _Atomic bool *cancel,
		struct store_compact *ret); /* may be NULL */
	int (*count)(struct store *s, enum coll c, struct store_count *ret);
	int (*estimate)(struct store *s, enum coll c, struct store_count *ret);
	int (*info)(struct store *s, struct store_info *ret);

	/* streams; those that are open have a table of their own */
	int (*stream_open)(struct store *s, const struct uuid *id,
		uint64_t from, const struct stream_owner *owner,
		stream_visit visit, void *arg, struct stream **ret);
	int (*stream_peek)(struct store *s, const struct uuid *id,
		uint64_t from, stream_visit visit, void *arg,
		struct stream **ret);
	int (*stream_owner)(struct store *s, const struct uuid *id,
		struct stream_owner *ret);
	int (*stream_remove)(struct store *s, const struct uuid *id);
	int (*stream_list)(struct store *s,
		int (*visit)(void *arg, const struct uuid *id), void *arg);
};

/* The first member of every store. */
struct store {
	const struct store_ops *ops;
	struct uuid uuid;
};

/* "chunks 3fa9…", "machines web": a document's name in messages. */
#define DOC_NAME (2 * KEY_MAX + 32)
char *doc_name(enum coll c, const struct key *key, char buf[DOC_NAME]);

/* 128-bit arithmetic of the sum in a count: + if ADD, else - */
void store_count_change(
	struct store_count *count, const struct doc *doc, bool add);

#endif

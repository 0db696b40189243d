/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_read - the embedded store's documents by key and in key order. No lock
 * and no transaction is held while segments are read: what was moved meanwhile
 * is looked up again for as long as its place changes; the same place twice is
 * damage.
 */
#ifndef HIVEFS_STORE_READ_H
#define HIVEFS_STORE_READ_H

#include "repo/embedded.h"

/* Where a document is now; no body. */
int must_check embedded_find(struct embedded *e, enum coll c,
	const struct key *key, struct entry *ret);

/* Reads what was found at f->at: f->err. Damage is logged. */
void embedded_fetch(struct embedded *e, enum coll c, struct lookup *f);

int must_check embedded_get_many(struct store *s, enum coll c,
	const struct key *keys, size_t n, struct doc *ret, int *ret_err);
int must_check embedded_head_many(struct store *s, enum coll c,
	const struct key *keys, size_t n, struct doc *ret);
int must_check embedded_exists_many(struct store *s, enum coll c,
	const struct key *keys, size_t n, bool *ret);
int must_check embedded_scan(struct store *s, enum coll c,
	const struct key *prefix, unsigned flags, store_visit visit, void *arg);

#endif

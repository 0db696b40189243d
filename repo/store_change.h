/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_change - the embedded store's changes of single documents: condition,
 * record and index entry inside one transaction, all to the same segment, the
 * journal. So their order there is the order they happened in, and a change
 * that lost its race is never written. Many of them share a transaction and an
 * fdatasync.
 */
#ifndef HIVEFS_STORE_CHANGE_H
#define HIVEFS_STORE_CHANGE_H

#include "repo/embedded.h"

int must_check embedded_change_many(
	struct store *s, struct store_change *changes, size_t n);
int must_check embedded_insert(struct store *s, const struct doc *doc);
int must_check embedded_replace(
	struct store *s, const struct doc *doc, uint64_t old_version);
int must_check embedded_remove(
	struct store *s, enum coll c, const struct key *key, uint64_t version);

#endif

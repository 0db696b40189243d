/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_write - the embedded store's two ways of writing.
 *
 * Bulk     chunks and maps: appended to a segment of this process (slots.h),
 *          fdatasync, then one transaction that publishes them.
 * Changes  of single documents: condition, record, fdatasync and index entry
 *          inside one transaction, all to the same segment, the journal. So
 *          their order there is the order they happened in, and a change that
 *          lost its race is never written.
 */
#ifndef HIVEFS_STORE_WRITE_H
#define HIVEFS_STORE_WRITE_H

#include "repo/embedded.h"

int must_check embedded_insert_many(
	struct store *s, const struct doc *docs, size_t n, bool *ret_inserted);
int must_check embedded_insert(struct store *s, const struct doc *doc);
int must_check embedded_replace(
	struct store *s, const struct doc *doc, uint64_t old_version);
int must_check embedded_remove(
	struct store *s, enum coll c, const struct key *key, uint64_t version);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_write - bulk inserts of the embedded store: chunks and maps are
 * appended to a segment of this process (slots.h), fdatasync, then one
 * transaction publishes them.
 */
#ifndef HIVEFS_STORE_WRITE_H
#define HIVEFS_STORE_WRITE_H

#include "repo/embedded.h"

int must_check embedded_insert_many(
	struct store *s, const struct doc *docs, size_t n, bool *ret_inserted);

#endif

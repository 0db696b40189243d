/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leafwrite - a window's leaf, cut and hashed, goes into the store: what of it
 * is not there yet is compressed and batched, chunks before the leaf.
 *
 * Ownership  borrows what it is given.
 * Threads    one thread at a time a leaf_writer.
 */
#ifndef HIVEFS_LEAFWRITE_H
#define HIVEFS_LEAFWRITE_H

#include <stdbool.h>

#include "repo/batch.h"
#include "repo/map.h"
#include "repo/quarantine.h"

struct leaf_writer_params {
	struct repo *repo;
	struct writer *writer; /* NULL: a dry run */
	const struct quarantine *quarantine;
	size_t batch_len;
	bool no_check; /* what is compressed is not read back */
};

struct leaf_writer;

int must_check leaf_writer_new(
	const struct leaf_writer_params *params, struct leaf_writer **ret);
void leaf_writer_free(struct leaf_writer *w);
DEFINE_CLEANUP(struct leaf_writer *, leaf_writer_free);

/* NULL in a dry run. */
struct batch *leaf_writer_batch(struct leaf_writer *w);

struct leaf_result {
	struct digest digest;   /* absent: all zeroes */
	bool changed;           /* it is not BASE */
	uint64_t fresh, stored; /* dry run only: what would be inserted */
};

/*
 * BASE is the leaf that a live root has in this place, or absent: what it names
 * is known to be there. BYTES are those of the window, at their offsets in it;
 * of extents that BASE names they need not be there.
 */
int must_check leaf_write(struct leaf_writer *w, const struct leaf *leaf,
	const struct digest *base, const uint8_t *bytes,
	struct leaf_result *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch - chunks and maps on their way into the store, so that they go in
 * large, sorted inserts: an index takes 512 random keys at once in the time of
 * a few single ones.
 *
 * Within a batch chunks go before the maps that name them.
 *
 * Ownership  borrows the repo and the writer.
 * Threads    one thread at a time.
 */
#ifndef HIVEFS_BATCH_H
#define HIVEFS_BATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "repo/writer.h"
#include "src/digest.h"

struct batch;

struct batch_stats {
	uint64_t n_chunks, n_maps; /* inserted; not those that existed */
	uint64_t plain;            /* bytes, of the chunks */
	uint64_t stored;           /* bytes of their bodies, maps' too */
};

/* BOUND is the bytes of bodies after which it flushes itself. */
int must_check batch_new(
	struct repo *r, uint64_t generation, size_t bound, struct batch **ret);
void batch_free(struct batch *b); /* drops what was not flushed */
DEFINE_CLEANUP(struct batch *, batch_free);

/* Is it in this batch, waiting? */
bool batch_has(const struct batch *b, enum coll c, const struct digest *d);

/*
 * Room for a body of at most MAX bytes, valid until the next call; flushes
 * first if there is none. Then batch_add() takes LEN bytes of it; PLAIN is the
 * length of what it encodes.
 */
int must_check batch_room(struct batch *b, size_t max, uint8_t **ret);
int must_check batch_add(struct batch *b, enum coll c, const struct digest *d,
	uint32_t len, uint32_t plain);

int must_check batch_flush(struct batch *b);

/* What has been inserted since the last call. */
struct batch_stats batch_take_stats(struct batch *b);

#endif

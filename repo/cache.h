/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache - decoded chunks and maps by digest, within a bound of bytes. A miss
 * is fetched, decoded and re-hashed once, however many ask for it at a time.
 *
 * The bound is one on memory: it is mapped at once, filled as it is used, and
 * not given back before cache_free(). What is larger than its share of it is
 * fetched each time.
 *
 * It is no cache of documents: what it holds has passed its digest, and damage
 * is never remembered, so that healing is seen at once.
 *
 * Ownership  cache_get() returns a reference that cache_put() gives back; the
 *            bytes are immutable and stay until then, even past the bound.
 *            cache_free() wants all of them back.
 * Threads    any thread.
 * Errors     -EBADMSG damaged, -ENOENT missing (both logged), of the store.
 */
#ifndef HIVEFS_CACHE_H
#define HIVEFS_CACHE_H

#include <stdatomic.h>
#include <stdint.h>

#include "repo/repo.h"
#include "src/digest.h"

struct cache;

struct cached {
	struct digest digest;
	uint32_t len;
	const uint8_t *data; /* plain bytes of a chunk, packed ones of a map */
};

int must_check cache_new(struct repo *r, uint64_t bound, struct cache **ret);
void cache_free(struct cache *c);
DEFINE_CLEANUP(struct cache *, cache_free);
struct repo *cache_repo(const struct cache *c);

int must_check cache_chunk(
	struct cache *c, const struct digest *d, struct cached **ret);

/* The same only if it is there already; NULL else. */
struct cached *cache_peek(struct cache *c, const struct digest *d);

/* LEVEL is what the map must be: it is checked once, when it is fetched. */
int must_check cache_map(struct cache *c, const struct digest *d,
	unsigned level, struct cached **ret);

/*
 * Fetches those of the N chunks that are neither there nor on their way, in one
 * request (64 each), as far as they fit. Who asks for one meanwhile waits for
 * it. Failures are left to whoever really reads them.
 */
void cache_prefetch(struct cache *c, const struct digest *chunks, size_t n);

void cache_put(struct cached *entry);

struct cache_stats {
	uint64_t bytes; /* taken by entries, headers and all */
	uint64_t bound;
	uint64_t hits, misses; /* misses: what was fetched */
};
void cache_stats(struct cache *c, struct cache_stats *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries lie in arenas mapped once, headers and all, so the bound is one on
 * memory. Maps have a quarter of it to themselves: a leaf of 2 KiB tells of
 * 4 MiB, and must not go because someone reads a disk from end to end.
 *
 * A hit is one lock, one look into a bucket and two atomic operations with its
 * put: 45 ns. A miss costs 90 us for a chunk of 64 KiB, decoded and re-hashed.
 */
#include "repo/cache.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "repo/fetch.h"
#include "repo/shard.h"
#include "src/bytes.h"
#include "src/log.h"

enum { KIND_CHUNK, KIND_MAP, N_KINDS };

#define SHARDS_MAX 16u
#define SHARD_MIN (2u << 20) /* of chunks: 16 of the largest */
#define PREFETCH_BATCH 64u   /* documents in memory at once */

static const enum coll kind_coll[] = { COLL_CHUNKS, COLL_MAPS };

struct cache {
	struct repo *repo;
	uint64_t bound;
	unsigned n_shards; /* of each kind; a power of two */
	void *memory;
	size_t memory_len;
	size_t prefetch_max;
	pthread_mutex_t lock;
	struct fetcher *idle; /* lock */
	struct shard shards[N_KINDS][SHARDS_MAX];
};

struct repo *cache_repo(const struct cache *c)
{
	return c->repo;
}

static struct shard *shard_of(struct cache *c, int kind, const struct digest *d)
{
	return &c->shards[kind][d->b[0] & (c->n_shards - 1)];
}

int cache_new(struct repo *r, uint64_t bound, struct cache **ret)
{
	struct cache *c = calloc(1, sizeof(*c));
	size_t share[N_KINDS];
	uint8_t *p;

	if (!c)
		return fail(ENOMEM, "cache: %m");
	c->repo = r;
	c->bound = bound;
	c->n_shards = 1;
	while (c->n_shards < SHARDS_MAX &&
		bound / 4 * 3 / c->n_shards / 2 >= SHARD_MIN)
		c->n_shards *= 2;
	/* at least room for the buckets and a small map */
	share[KIND_MAP] = MAX_OF(
		round_down(bound / 4 / c->n_shards, 4096), UINT64_C(4096));
	share[KIND_CHUNK] = MAX_OF(
		round_down(bound / 4 * 3 / c->n_shards, 4096), UINT64_C(4096));
	c->prefetch_max = share[KIND_CHUNK] * c->n_shards / 2 / CHUNK_MAX;
	c->memory_len = (share[KIND_MAP] + share[KIND_CHUNK]) * c->n_shards;
	c->memory = mmap(NULL, c->memory_len, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->memory == MAP_FAILED) {
		int err = errno;

		free(c);
		return fail(err, "cache of %llu bytes: %m",
			(unsigned long long)bound);
	}
	/*
	 * The kernel copies a reply out of these pages one by one: large ones
	 * make that 1.6 times as fast. It may have none, so what it says is of
	 * no interest.
	 */
	(void)madvise(
		c->memory, share[KIND_CHUNK] * c->n_shards, MADV_HUGEPAGE);
	pthread_mutex_init(&c->lock, NULL);
	p = c->memory;
	for (int kind = 0; kind < N_KINDS; kind++)
		for (unsigned i = 0; i < c->n_shards; i++) {
			shard_init(&c->shards[kind][i], p, share[kind]);
			p += share[kind];
		}
	*ret = c;
	return 0;
}

void cache_free(struct cache *c)
{
	for (int kind = 0; kind < N_KINDS; kind++)
		for (unsigned i = 0; i < c->n_shards; i++)
			shard_fini(&c->shards[kind][i]);
	while (c->idle) {
		struct fetcher *f = c->idle;

		c->idle = f->next;
		fetcher_free(f);
	}
	munmap(c->memory, c->memory_len);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static int fetcher_borrow(struct cache *c, struct fetcher **ret)
{
	struct fetcher *f;

	pthread_mutex_lock(&c->lock);
	f = c->idle;
	if (f)
		c->idle = f->next;
	pthread_mutex_unlock(&c->lock);
	if (!f)
		return fetcher_new(c->repo, ret);
	*ret = f;
	return 0;
}

/* As many stay as were ever needed at a time: one for each reading thread. */
static void fetcher_return(struct cache *c, struct fetcher *f)
{
	pthread_mutex_lock(&c->lock);
	f->next = c->idle;
	c->idle = f;
	pthread_mutex_unlock(&c->lock);
}

/* Fetches what a flight is for, and lands it. */
static int fly(struct cache *c, int kind, struct flight *flight,
	struct shard_entry **ret)
{
	struct digest want = flight->digest;
	unsigned level = flight->level;
	struct shard *s = shard_of(c, kind, &want);
	struct fetcher *f = NULL;
	struct shard_entry *e = NULL;
	uint32_t len;
	int r = fetcher_borrow(c, &f);

	if (r == 0)
		r = fetcher_get(
			f, c->repo, kind_coll[kind], &want, level, &len);
	if (r == 0) {
		e = shard_entry_new(s, &want, level, len);
		if (e)
			memcpy(e->bytes, f->plain, len);
		else
			r = fail(ENOMEM, "cache: %m");
	}
	if (f)
		fetcher_return(c, f);
	shard_land(s, flight, e, r);
	*ret = e;
	return r;
}

static int get(struct cache *c, int kind, const struct digest *d,
	unsigned level, struct shard_entry **ret)
{
	struct flight *f;
	int r = shard_get(shard_of(c, kind, d), d, level, ret, &f);

	return r == 1 ? fly(c, kind, f, ret) : r;
}

int cache_chunk(struct cache *c, const struct digest *d, struct cached **ret)
{
	struct shard_entry *e = NULL;
	int r = get(c, KIND_CHUNK, d, 0, &e);

	if (r < 0)
		return r;
	assert(e);
	*ret = &e->pub;
	return 0;
}

struct cached *cache_peek(struct cache *c, const struct digest *d)
{
	struct shard_entry *e = shard_peek(shard_of(c, KIND_CHUNK, d), d);

	return e ? &e->pub : NULL;
}

int cache_map(struct cache *c, const struct digest *d, unsigned level,
	struct cached **ret)
{
	char hex[DIGEST_HEX];
	struct shard_entry *e = NULL;
	int r = get(c, KIND_MAP, d, level, &e);

	if (r < 0)
		return r;
	assert(e);
	/* it was checked for what another map took it for */
	if (e->level != level) {
		shard_put(e);
		return fail(EBADMSG, "map %.16s…: not of level %u",
			digest_hex(d, hex), level);
	}
	*ret = &e->pub;
	return 0;
}

void cache_put(struct cached *entry)
{
	char *p = (char *)entry - offsetof(struct shard_entry, pub);

	shard_put((struct shard_entry *)(void *)p);
}

/* Decodes what came of a flight to where it will stay. If that fails, who waits
 * for it sees for itself. */
static void land_prefetched(struct cache *c, struct fetcher *f,
	struct flight *flight, const struct doc *doc)
{
	struct digest d = flight->digest;
	struct shard *s = shard_of(c, KIND_CHUNK, &d);
	struct shard_entry *e = NULL;
	bool good = false;
	uint32_t len;

	if (doc->body && chunk_plain_len(doc->body, doc->len, &len) == 0)
		e = shard_entry_new(s, &d, 0, len);
	if (e)
		good = chunk_decode(f->codec, &d, doc->body, doc->len, e->bytes,
			       &len) == 0;
	shard_land(s, flight, good ? e : NULL, 1);
	if (e)
		shard_put(e);
}

static void prefetch_batch(struct cache *c, struct flight **flights, size_t n)
{
	struct doc docs[PREFETCH_BATCH];
	struct key keys[PREFETCH_BATCH];
	int errs[PREFETCH_BATCH];
	struct fetcher *f = NULL;
	bool ok;

	for (size_t i = 0; i < n; i++)
		keys[i] = key_of(
			flights[i]->digest.b, sizeof(flights[i]->digest.b));
	ok = fetcher_borrow(c, &f) == 0 &&
	     store_get_many(c->repo->store, COLL_CHUNKS, keys, n, docs, errs) ==
		     0;
	for (size_t i = 0; i < n; i++)
		if (!ok || errs[i] < 0)
			docs[i] = (struct doc){ .body = NULL };
	for (size_t i = 0; i < n; i++)
		land_prefetched(c, f, flights[i], &docs[i]);
	for (size_t i = 0; i < n; i++)
		doc_fini(&docs[i]);
	if (f)
		fetcher_return(c, f);
}

void cache_prefetch(struct cache *c, const struct digest *chunks, size_t n)
{
	struct flight *flights[PREFETCH_BATCH];
	size_t n_flights = 0;

	/* more than fits would only push itself out again */
	n = MIN_OF(n, c->prefetch_max);
	for (size_t i = 0; i < n; i++) {
		struct flight *f = shard_claim(
			shard_of(c, KIND_CHUNK, &chunks[i]), &chunks[i]);

		if (f)
			flights[n_flights++] = f;
		if (n_flights == PREFETCH_BATCH) {
			prefetch_batch(c, flights, n_flights);
			n_flights = 0;
		}
	}
	if (n_flights)
		prefetch_batch(c, flights, n_flights);
}

void cache_stats(struct cache *c, struct cache_stats *ret)
{
	*ret = (struct cache_stats){ .bound = c->bound };
	for (int kind = 0; kind < N_KINDS; kind++)
		for (unsigned i = 0; i < c->n_shards; i++) {
			struct shard *s = &c->shards[kind][i];

			pthread_mutex_lock(&s->lock);
			ret->bytes += s->arena.bytes;
			ret->hits += s->hits;
			ret->misses += s->misses;
			pthread_mutex_unlock(&s->lock);
		}
}

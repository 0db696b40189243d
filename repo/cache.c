/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries lie in arenas mapped once, headers and all, so the bound is one on
 * memory. Maps have a quarter of it to themselves: a leaf of 2 KiB tells of
 * 4 MiB, and must not go because someone reads a disk from end to end.
 *
 * A fetch in progress is a `flight`; whoever else wants the digest waits for it
 * on the shard's condition variable. That variable and the one in src/pool.c
 * are the only ones: waiting for another thread's fetch with a lock held would
 * be holding a lock across store I/O.
 */
#include "repo/cache.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "repo/arena.h"
#include "repo/fetch.h"
#include "src/bytes.h"
#include "src/log.h"

enum { KIND_CHUNK, KIND_MAP, N_KINDS };

#define SHARDS_MAX 16u
#define SHARD_MIN (2u << 20) /* of chunks: 16 of the largest */
#define PREFETCH_BATCH 64u   /* documents in memory at once */

static const enum coll kind_coll[] = { COLL_CHUNKS, COLL_MAPS };

struct entry {
	struct slot slot; /* must come first */
	struct cached pub;
	struct entry *chain; /* shard->lock; of its bucket */
	uint8_t level;       /* of a map */
	bool apart;          /* not in the arena: freed by the last put */
	alignas(16) uint8_t bytes[];
};

struct flight {
	struct flight *next; /* shard->lock; all below, too */
	struct digest digest;
	bool landed;
	unsigned waiters;
	/* when landed: 0 and an entry; an error; 1: try for yourself */
	int result;
	struct entry *entry;
};

struct shard {
	pthread_mutex_t lock; /* no other is taken while it is held */
	pthread_cond_t landed;
	struct arena arena;     /* lock */
	struct entry **buckets; /* lock */
	size_t mask;            /* immutable */
	struct flight *flights; /* lock; few: looked through on a miss only */
	uint64_t hits, misses;  /* lock */
};

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

static struct entry *entry_of(struct cached *p)
{
	return (struct entry *)(void *)((char *)p -
					offsetof(struct entry, pub));
}

static struct shard *shard_of(struct cache *c, int kind, const struct digest *d)
{
	return &c->shards[kind][d->b[0] & (c->n_shards - 1)];
}

static struct entry **bucket_of(struct shard *s, const struct digest *d)
{
	return &s->buckets[get_le64(d->b + 8) & s->mask];
}

/* The memory of one shard: its buckets, then its arena. */
static void shard_init(struct shard *s, uint8_t *memory, size_t len)
{
	size_t n = 8;
	size_t table;

	/* a bucket for every 2 KiB costs 0.4 % and is one for every leaf */
	while (n * 2 * 2048 <= len)
		n *= 2;
	table = round_up(n * sizeof(*s->buckets), 64);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->landed, NULL);
	s->buckets = (struct entry **)(void *)memory;
	s->mask = n - 1;
	arena_init(&s->arena, memory + table, len - table);
}

static void shard_fini(struct shard *s)
{
	assert(!s->flights);
	for (struct slot *x = s->arena.head.next; x != &s->arena.head;
		x = x->next)
		assert(atomic_load(&x->refs) == 1); /* a cache_put() is owed */
	arena_fini(&s->arena);
	pthread_cond_destroy(&s->landed);
	pthread_mutex_destroy(&s->lock);
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
		bound / 4 * 3 / (c->n_shards * 2) >= SHARD_MIN)
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

/* shard->lock is held: arena_take() runs under it */
static void drop(void *arg, struct slot *slot)
{
	struct entry *e = (struct entry *)(void *)slot;
	struct entry **p = bucket_of(arg, &e->pub.digest);

	while (*p != e)
		p = &(*p)->chain;
	*p = e->chain;
}

/*
 * An entry of these bytes, with a reference for the caller; not in its bucket
 * yet. Where the arena has no room it is one that lives until its last put.
 */
static struct entry *entry_new(struct shard *s, const struct digest *d,
	unsigned level, const uint8_t *data, uint32_t len)
{
	size_t size = sizeof(struct entry) + len;
	struct entry *e;
	bool apart;

	pthread_mutex_lock(&s->lock);
	e = (struct entry *)(void *)arena_take(&s->arena, size, drop, s);
	pthread_mutex_unlock(&s->lock);
	apart = !e;
	if (apart) {
		e = malloc(size);
		if (!e)
			return NULL;
		atomic_init(&e->slot.refs, 1);
	}
	e->pub.digest = *d;
	e->pub.len = len;
	e->pub.data = e->bytes;
	e->chain = NULL;
	e->level = (uint8_t)level;
	e->apart = apart;
	memcpy(e->bytes, data, len);
	return e;
}

/* shard->lock is held, in all of these */
static struct entry *entry_find(struct shard *s, const struct digest *d)
{
	struct entry *e = *bucket_of(s, d);

	while (e && !digest_eq(&e->pub.digest, d))
		e = e->chain;
	if (e) {
		e->slot.used = true;
		atomic_fetch_add_explicit(
			&e->slot.refs, 1, memory_order_relaxed);
	}
	return e;
}

static struct flight *flight_find(struct shard *s, const struct digest *d)
{
	struct flight *f = s->flights;

	while (f && !digest_eq(&f->digest, d))
		f = f->next;
	return f;
}

static struct flight *flight_new(struct shard *s, const struct digest *d)
{
	struct flight *f = calloc(1, sizeof(*f));

	if (f) {
		f->digest = *d;
		f->next = s->flights;
		s->flights = f;
		s->misses++;
	}
	return f;
}

static int flight_wait(struct shard *s, struct flight *f, struct entry **ret)
{
	int r;

	f->waiters++;
	while (!f->landed)
		pthread_cond_wait(&s->landed, &s->lock);
	r = f->result;
	*ret = f->entry;
	if (--f->waiters == 0)
		free(f);
	return r;
}

/* Ends a flight with an entry, or without one and a result for its waiters. */
static void flight_land(
	struct shard *s, struct flight *f, struct entry *e, int result)
{
	struct flight **p = &s->flights;

	pthread_mutex_lock(&s->lock);
	while (*p != f)
		p = &(*p)->next;
	*p = f->next;
	if (e && !e->apart) {
		struct entry **bucket = bucket_of(s, &e->pub.digest);

		e->chain = *bucket;
		*bucket = e;
	}
	if (e)
		atomic_fetch_add_explicit(
			&e->slot.refs, f->waiters, memory_order_relaxed);
	f->entry = e;
	f->result = result;
	f->landed = true;
	if (f->waiters)
		pthread_cond_broadcast(&s->landed);
	else
		free(f);
	pthread_mutex_unlock(&s->lock);
}

/* Fetches what a flight is for, and lands it. */
static int fly(struct cache *c, int kind, struct flight *flight, unsigned level,
	struct entry **ret)
{
	struct digest want = flight->digest;
	struct shard *s = shard_of(c, kind, &want);
	struct fetcher *f = NULL;
	struct entry *e = NULL;
	uint32_t len;
	int r = fetcher_borrow(c, &f);

	if (r == 0)
		r = fetcher_get(
			f, c->repo, kind_coll[kind], &want, level, &len);
	if (r == 0) {
		e = entry_new(s, &want, level, f->plain, len);
		if (!e)
			r = fail(ENOMEM, "cache: %m");
	}
	if (f)
		fetcher_return(c, f);
	flight_land(s, flight, e, r);
	*ret = e;
	return r;
}

static int get(struct cache *c, int kind, const struct digest *d,
	unsigned level, struct entry **ret)
{
	struct shard *s = shard_of(c, kind, d);
	struct flight *f;
	int r;

	do {
		r = 0;
		pthread_mutex_lock(&s->lock);
		*ret = entry_find(s, d);
		f = *ret ? NULL : flight_find(s, d);
		if (*ret || f)
			s->hits++;
		if (f) {
			r = flight_wait(s, f, ret);
		} else if (!*ret) {
			f = flight_new(s, d);
			pthread_mutex_unlock(&s->lock);
			return f ? fly(c, kind, f, level, ret)
				 : fail(ENOMEM, "cache: %m");
		}
		pthread_mutex_unlock(&s->lock);
	} while (r > 0);
	return r;
}

int cache_chunk(struct cache *c, const struct digest *d, struct cached **ret)
{
	struct entry *e;
	int r = get(c, KIND_CHUNK, d, 0, &e);

	if (r == 0)
		*ret = &e->pub;
	return r;
}

int cache_map(struct cache *c, const struct digest *d, unsigned level,
	struct cached **ret)
{
	char hex[DIGEST_HEX];
	struct entry *e;
	int r = get(c, KIND_MAP, d, level, &e);

	if (r < 0)
		return r;
	/* it was checked for what another map took it for */
	if (e->level != level) {
		cache_put(&e->pub);
		return fail(EBADMSG, "map %s: is no map of level %u",
			digest_hex(d, hex), level);
	}
	*ret = &e->pub;
	return 0;
}

void cache_put(struct cached *entry)
{
	struct entry *e = entry_of(entry);

	/* the arena's own reference keeps those in it from ever coming to 0 */
	if (atomic_fetch_sub_explicit(&e->slot.refs, 1, memory_order_acq_rel) ==
		1)
		free(e);
}

/* Decodes what came for a flight; its waiters see for themselves if it fails.
 */
static void land_prefetched(struct cache *c, struct fetcher *f,
	struct flight *flight, const struct doc *doc)
{
	struct digest want = flight->digest;
	struct shard *s = shard_of(c, KIND_CHUNK, &want);
	struct entry *e = NULL;
	uint32_t len;

	if (doc && doc->body && fetcher_decode(f, &want, 0, doc, &len) == 0)
		e = entry_new(s, &want, 0, f->plain, len);
	flight_land(s, flight, e, e ? 0 : 1);
	if (e)
		cache_put(&e->pub);
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
	for (size_t i = 0; i < n; i++) {
		bool came = ok && errs[i] == 0;

		land_prefetched(c, f, flights[i], came ? &docs[i] : NULL);
		if (came)
			doc_fini(&docs[i]);
	}
	if (f)
		fetcher_return(c, f);
}

/* A flight for D if it is neither there nor on its way. */
static struct flight *prefetch_wanted(struct cache *c, const struct digest *d)
{
	struct shard *s = shard_of(c, KIND_CHUNK, d);
	struct flight *f = NULL;
	struct entry *e;

	pthread_mutex_lock(&s->lock);
	e = entry_find(s, d);
	if (!e && !flight_find(s, d))
		f = flight_new(s, d);
	pthread_mutex_unlock(&s->lock);
	if (e)
		cache_put(&e->pub);
	return f;
}

void cache_prefetch(struct cache *c, const struct digest *chunks, size_t n)
{
	struct flight *flights[PREFETCH_BATCH];
	size_t n_flights = 0;

	/* more than fits would only push itself out again */
	n = MIN_OF(n, c->prefetch_max);
	for (size_t i = 0; i < n; i++) {
		struct flight *f = prefetch_wanted(c, &chunks[i]);

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

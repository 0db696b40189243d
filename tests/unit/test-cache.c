/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards the cache: one fetch however many ask, a bound that holds, entries
 * that outlive eviction, and damage that is told to all and remembered by none.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/repo-fixture.h"

#include <cmocka.h>
#include <pthread.h>

#include "repo/arena.h"
#include "repo/cache.h"

#define N_CHUNKS 400
#define N_THREADS 8
#define CHURNS 500

static char dir[64];
static struct repo *repo;
static struct digest chunks[N_CHUNKS];
static uint32_t lens[N_CHUNKS];
static struct digest leaf_map, node_map;

/* Between one sector and the longest chunk; most are of 16 to 128 KiB. */
static uint32_t len_of(unsigned i)
{
	if (i % 20 == 0)
		return 512;
	return (4 + i * 7 % 29) * PAGE_LEN;
}

static void make_chunks(void)
{
	uint8_t *data = malloc(CHUNK_MAX);

	MUST(data);
	for (unsigned i = 0; i < N_CHUNKS; i++) {
		lens[i] = i == 1 ? CHUNK_MAX : len_of(i);
		fixture_fill(data, lens[i], i);
		chunks[i] = fixture_chunk(repo, data, lens[i]);
	}
	free(data);
}

static int set_up(void **state)
{
	struct digest child[MAP_FAN] = { 0 };
	uint8_t *packed = malloc(MAP_PACKED_MAX);
	struct leaf *l = calloc(1, sizeof(*l));

	(void)state;
	MUST(packed && l);
	log_set_sink(fixture_sink);
	repo = fixture_repo(dir);
	make_chunks();
	leaf_add(l, lens[2], BLK_DATA, &chunks[2]);
	leaf_map = fixture_leaf(repo, l);
	child[3] = leaf_map;
	node_map = fixture_map(repo, packed, node_pack(1, child, packed));
	free(packed);
	free(l);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	repo_close(repo);
	fixture_remove(dir);
	return 0;
}

/* Gets chunk I and says whether its bytes are right. */
static bool right(struct cache *c, unsigned i)
{
	struct digest is;
	struct cached *e;
	bool ok;

	if (cache_chunk(c, &chunks[i], &e) < 0)
		return false;
	is = digest_of(e->data, e->len);
	ok = e->len == lens[i] && digest_eq(&e->digest, &chunks[i]) &&
	     digest_eq(&is, &chunks[i]);
	cache_put(e);
	return ok;
}

static void hits_do_not_fetch(void **state)
{
	struct cache_stats stats;
	struct cached *e;
	struct spy spy;
	struct repo front = spy_init(&spy, repo);
	struct cache *c;

	(void)state;
	assert_int_equal(cache_new(&front, 64 << 20, &c), 0);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < N_CHUNKS; i++)
			assert_true(right(c, i));
		assert_int_equal(cache_map(c, &leaf_map, 0, &e), 0);
		cache_put(e);
	}
	assert_int_equal(spy.n_docs, N_CHUNKS + 1);
	cache_stats(c, &stats);
	assert_int_equal(stats.misses, N_CHUNKS + 1);
	assert_int_equal(stats.hits, 2 * (N_CHUNKS + 1));
	assert_int_equal(stats.bound, 64 << 20);
	cache_free(c);
}

static void a_map_is_of_its_level(void **state)
{
	struct digest child;
	struct cached *e;
	struct cache *c;

	(void)state;
	assert_int_equal(cache_new(repo, 8 << 20, &c), 0);
	/* fetched as what it is not, then got as what it is, then again not */
	assert_int_equal(cache_map(c, &node_map, 0, &e), -EBADMSG);
	assert_int_equal(cache_map(c, &node_map, 1, &e), 0);
	child = node_child(e->data, 3);
	assert_true(digest_eq(&child, &leaf_map));
	cache_put(e);
	assert_int_equal(cache_map(c, &node_map, 2, &e), -EBADMSG);
	assert_int_equal(cache_map(c, &node_map, 0, &e), -EBADMSG);
	assert_int_equal(cache_map(c, &leaf_map, 0, &e), 0);
	cache_put(e);
	cache_free(c);
}

static void the_bound_holds(void **state)
{
	static const uint64_t bounds[] = { 0, 4096, 300 << 10, 1 << 20,
		5 << 20 };
	struct cache_stats stats;

	(void)state;
	for (size_t b = 0; b < N_ELEMS(bounds); b++) {
		uint64_t seed = 88172645463325252u + b;
		struct cache *c;

		assert_int_equal(cache_new(repo, bounds[b], &c), 0);
		for (unsigned i = 0; i < 1200; i++)
			assert_true(right(c,
				(unsigned)(fixture_random(&seed) % N_CHUNKS)));
		cache_stats(c, &stats);
		assert_true(stats.bytes <= MAX_OF(bounds[b], UINT64_C(8192)));
		/* and it is made use of */
		if (bounds[b] >= 1 << 20)
			assert_true(stats.bytes > bounds[b] / 2);
		cache_free(c);
	}
}

/* What is held is neither evicted nor overwritten, however much comes by. */
static void held_entries_outlive_eviction(void **state)
{
	struct cached *held[64];
	struct cache *c;

	(void)state;
	assert_int_equal(cache_new(repo, 1 << 20, &c), 0);
	for (unsigned i = 0; i < N_ELEMS(held); i++)
		assert_int_equal(cache_chunk(c, &chunks[i], &held[i]), 0);
	for (unsigned i = 0; i < N_CHUNKS; i++)
		assert_true(right(c, i));
	for (unsigned i = 0; i < N_ELEMS(held); i++) {
		struct digest d = digest_of(held[i]->data, held[i]->len);

		assert_true(digest_eq(&d, &chunks[i]));
		cache_put(held[i]);
	}
	cache_free(c);
}

struct crowd {
	struct cache *cache;
	pthread_barrier_t barrier;
	const struct digest *digest;
	_Atomic unsigned n_ok, n_damaged, n_missing;
};

static void *ask(void *arg)
{
	struct crowd *crowd = arg;
	struct cached *e;
	int r;

	pthread_barrier_wait(&crowd->barrier);
	r = cache_chunk(crowd->cache, crowd->digest, &e);
	if (r == 0)
		cache_put(e);
	crowd->n_ok += r == 0;
	crowd->n_damaged += r == -EBADMSG;
	crowd->n_missing += r == -ENOENT;
	return NULL;
}

static void run_crowd(struct crowd *crowd, void *(*fn)(void *))
{
	pthread_t threads[N_THREADS];

	pthread_barrier_init(&crowd->barrier, NULL, N_THREADS);
	for (unsigned i = 0; i < N_THREADS; i++)
		MUST(pthread_create(&threads[i], NULL, fn, crowd) == 0);
	for (unsigned i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&crowd->barrier);
}

static void one_fetch_however_many_ask(void **state)
{
	struct spy spy;
	struct repo front = spy_init(&spy, repo);
	struct crowd crowd = { .digest = &chunks[7] };

	(void)state;
	spy.delay_us = 50000;
	/* with room to keep it, and with none */
	for (uint64_t bound = 0; bound <= 8 << 20; bound += 8 << 20) {
		spy.n_docs = 0;
		crowd.n_ok = 0;
		assert_int_equal(cache_new(&front, bound, &crowd.cache), 0);
		run_crowd(&crowd, ask);
		assert_int_equal(crowd.n_ok, N_THREADS);
		assert_int_equal(spy.n_docs, 1);
		cache_free(crowd.cache);
	}
}

static void damage_is_told_to_all_and_not_remembered(void **state)
{
	struct spy spy;
	struct repo front = spy_init(&spy, repo);
	struct crowd crowd = { .digest = &chunks[9] };

	(void)state;
	assert_int_equal(cache_new(&front, 8 << 20, &crowd.cache), 0);
	spy.delay_us = 50000;
	spy.flip = true;
	run_crowd(&crowd, ask);
	assert_int_equal(crowd.n_damaged, N_THREADS);
	assert_int_equal(spy.n_docs, 1);
	spy.flip = false;
	spy.hide = true;
	run_crowd(&crowd, ask);
	assert_int_equal(crowd.n_missing, N_THREADS);
	assert_non_null(strstr(fixture_said, "missing"));
	spy.hide = false;
	spy.delay_us = 0;
	assert_true(right(crowd.cache, 9)); /* healed: seen at once */
	cache_free(crowd.cache);
}

static void prefetch_is_one_request(void **state)
{
	struct spy spy;
	struct repo front = spy_init(&spy, repo);
	struct digest twice[20];
	struct cache *c;

	(void)state;
	assert_int_equal(cache_new(&front, 64 << 20, &c), 0);
	assert_true(right(c, 3));
	for (unsigned i = 0; i < 20; i++)
		twice[i] = chunks[i / 2];
	spy.n_calls = spy.n_docs = 0;
	cache_prefetch(c, twice, 20);
	assert_int_equal(spy.n_calls, 1);
	assert_int_equal(spy.n_docs, 9); /* one was there */
	for (unsigned i = 0; i < 10; i++)
		assert_true(right(c, i));
	assert_int_equal(spy.n_calls, 1);
	/* what fails is dropped, and told to whoever reads it */
	spy.flip = true;
	cache_prefetch(c, chunks + 100, 10);
	assert_false(right(c, 100));
	spy.flip = false;
	for (unsigned i = 100; i < 110; i++)
		assert_true(right(c, i));
	cache_free(c);
}

static void *prefetch(void *arg)
{
	cache_prefetch(arg, chunks + 200, 8);
	return NULL;
}

/* A reader waits for a prefetch under way; if that fails it reads for itself.
 */
static void readers_wait_for_a_prefetch(void **state)
{
	struct spy spy;
	struct repo front = spy_init(&spy, repo);
	struct cache *c;
	pthread_t thread;

	(void)state;
	for (unsigned broken = 0; broken < 2; broken++) {
		assert_int_equal(cache_new(&front, 64 << 20, &c), 0);
		spy.n_calls = 0;
		spy.delay_us = 100000;
		spy.hide = broken;
		MUST(pthread_create(&thread, NULL, prefetch, c) == 0);
		while (spy.n_calls == 0)
			usleep(100);
		usleep(20000);
		if (broken) {
			struct cached *e;

			assert_int_equal(
				cache_chunk(c, &chunks[201], &e), -ENOENT);
			/* and whether it is in the quarantine */
			assert_int_equal(spy.n_calls, 3);
		} else {
			assert_true(right(c, 201));
			assert_int_equal(spy.n_calls, 1);
		}
		pthread_join(thread, NULL);
		cache_free(c);
	}
}

static void *ask_wrongly(void *arg)
{
	struct cached *e;

	assert_int_equal(cache_map(arg, &node_map, 2, &e), -EBADMSG);
	return NULL;
}

/* Whoever asks for a map as what it is gets it, whoever else asks as what. */
static void a_wrong_level_is_the_askers_own_error(void **state)
{
	struct spy spy;
	struct repo front = spy_init(&spy, repo);
	struct cached *e;
	struct cache *c;
	pthread_t thread;

	(void)state;
	assert_int_equal(cache_new(&front, 8 << 20, &c), 0);
	spy.delay_us = 50000;
	MUST(pthread_create(&thread, NULL, ask_wrongly, c) == 0);
	while (spy.n_calls == 0)
		usleep(100);
	assert_int_equal(cache_map(c, &node_map, 1, &e), 0);
	cache_put(e);
	pthread_join(thread, NULL);
	cache_free(c);
}

static void *churn(void *arg)
{
	struct crowd *crowd = arg;
	uint64_t seed = 0x9e3779b97f4a7c15u + (uintptr_t)&seed;
	struct digest ahead[6];

	pthread_barrier_wait(&crowd->barrier);
	for (unsigned n = 0; n < CHURNS; n++) {
		unsigned i = (unsigned)(fixture_random(&seed) % (N_CHUNKS - 6));

		if (n % 8 == 0) {
			memcpy(ahead, chunks + i, sizeof(ahead));
			cache_prefetch(crowd->cache, ahead, 6);
		}
		crowd->n_ok += right(crowd->cache, i);
	}
	return NULL;
}

static void threads_read_what_they_asked_for(void **state)
{
	struct crowd crowd = { 0 };

	(void)state;
	assert_int_equal(cache_new(repo, 3 << 20, &crowd.cache), 0);
	run_crowd(&crowd, churn);
	assert_int_equal(crowd.n_ok, N_THREADS * CHURNS);
	cache_free(crowd.cache);
}

struct arena_model {
	uint8_t *base;
	size_t live;
};

static void on_drop(void *arg, struct slot *s)
{
	struct arena_model *m = arg;

	m->live -= s->size;
	assert_int_equal(atomic_load(&s->refs), 1);
}

/* Slots never overlap, pinned ones stay, and all of it is accounted for. */
static void an_arena_keeps_its_slots_apart(void **state)
{
	enum { SIZE = 64 << 10, PINS = 5 };
	struct arena_model m = { .base = aligned_alloc(64, SIZE) };
	struct slot *pinned[PINS] = { 0 };
	uint64_t seed = 42;
	struct arena a;

	(void)state;
	arena_init(&a, m.base, SIZE);
	for (unsigned i = 0; i < 20000; i++) {
		size_t size =
			sizeof(struct slot) + fixture_random(&seed) % (6 << 10);
		unsigned pin = (unsigned)(fixture_random(&seed) % PINS);
		struct slot *s = arena_take(&a, size, on_drop, &m);
		struct slot *x;
		size_t sum = 0;

		assert_non_null(s);
		m.live += s->size;
		assert_true(s->size >= size);
		for (x = a.head.next; x != &a.head; x = x->next) {
			sum += x->size;
			assert_true((uint8_t *)x >= m.base &&
				    (uint8_t *)x + x->size <= m.base + SIZE);
			assert_true(
				x->next == &a.head ||
				(uint8_t *)x + x->size <= (uint8_t *)x->next);
			x->used |= fixture_random(&seed) % 4 == 0;
		}
		assert_int_equal(sum, a.bytes);
		assert_int_equal(sum, m.live);
		if (pinned[pin])
			atomic_fetch_sub(&pinned[pin]->refs, 1);
		pinned[pin] = s;
	}
	for (unsigned i = 0; i < PINS; i++)
		assert_int_equal(atomic_load(&pinned[i]->refs), 2);
	assert_null(arena_take(&a, SIZE + 1, on_drop, &m));
	assert_null(arena_take(&a, SIZE, on_drop, &m)); /* some are pinned */
	for (unsigned i = 0; i < PINS; i++)
		atomic_fetch_sub(&pinned[i]->refs, 1);
	assert_non_null(arena_take(&a, SIZE, on_drop, &m));
	arena_fini(&a);
	free(m.base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hits_do_not_fetch),
		cmocka_unit_test(a_map_is_of_its_level),
		cmocka_unit_test(the_bound_holds),
		cmocka_unit_test(held_entries_outlive_eviction),
		cmocka_unit_test(one_fetch_however_many_ask),
		cmocka_unit_test(damage_is_told_to_all_and_not_remembered),
		cmocka_unit_test(prefetch_is_one_request),
		cmocka_unit_test(readers_wait_for_a_prefetch),
		cmocka_unit_test(a_wrong_level_is_the_askers_own_error),
		cmocka_unit_test(threads_read_what_they_asked_for),
		cmocka_unit_test(an_arena_keeps_its_slots_apart),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

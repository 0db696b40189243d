/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards diff: every byte that differs is in a range, ranges are in order and
 * merged, their kind is what the second disk has there, and equal subtrees are
 * not read.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/repo-fixture.h"

#include <cmocka.h>

#include "repo/diff.h"

#define TIB (UINT64_C(1) << 40)

static char dir[64];
static struct repo *repo;
static struct cache *cache;

static int set_up(void **state)
{
	(void)state;
	log_set_sink(fixture_sink);
	repo = fixture_repo(dir);
	MUST(cache_new(repo, 16 << 20, &cache) == 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	cache_free(cache);
	repo_close(repo);
	fixture_remove(dir);
	return 0;
}

struct range {
	uint64_t off, len;
	enum blk_kind kind;
};
struct ranges vec(struct range);

static int visit(void *arg, uint64_t off, uint64_t len, enum blk_kind kind)
{
	struct ranges *r = arg;
	const struct range *last = r->n ? &r->v[r->n - 1] : NULL;

	assert_true(len > 0);
	if (last) {
		assert_true(last->off + last->len <= off);
		assert_true(last->off + last->len < off || last->kind != kind);
	}
	MUST(vec_add(r, (struct range){ off, len, kind }) == 0);
	return 0;
}

static struct ranges diff(const struct digest *a, uint64_t size_a,
	const struct digest *b, uint64_t size_b)
{
	struct ranges r = { 0 };
	struct disk *da, *db;

	MUST(disk_open(cache, "a", a, size_a, 512, &da) == 0);
	MUST(disk_open(cache, "b", b, size_b, 512, &db) == 0);
	assert_int_equal(diff_disks(da, db, visit, &r), 0);
	disk_close(da);
	disk_close(db);
	return r;
}

static void expect(struct ranges *got, const struct range *want, size_t n)
{
	assert_int_equal(got->n, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(got->v[i].off, want[i].off);
		assert_int_equal(got->v[i].len, want[i].len);
		assert_int_equal(got->v[i].kind, want[i].kind);
	}
	vec_fini(got);
}

/* Turns A into B as the ranges say, and nothing else. */
static void apply(const struct ranges *r, uint8_t *a, uint64_t size_a,
	const uint8_t *b, uint64_t size_b)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct range *x = &r->v[i];

		assert_true(x->off + x->len <= MAX_OF(size_a, size_b));
		for (uint64_t k = x->off; k < x->off + x->len; k++) {
			uint8_t v = k < size_b ? b[k] : 0;

			assert_true(x->kind != BLK_ZERO || v == 0);
			a[k] = v;
		}
	}
}

static void change(uint8_t *p, uint64_t size, uint64_t *seed)
{
	for (unsigned i = 0; i < 12; i++) {
		uint64_t off = round_down(fixture_random(seed) % size, 512);
		uint64_t len =
			MIN_OF(fixture_random(seed) % 100000, size - off);

		if (i % 3)
			fixture_fill(p + off, len, fixture_random(seed));
		else
			memset(p + off, 0, len);
	}
}

static void ranges_turn_one_disk_into_the_other(void **state)
{
	static const uint64_t sizes[][2] = {
		{ 4 * WINDOW, 4 * WINDOW },
		{ WINDOW, WINDOW },
		{ 512, WINDOW + 512 },
		{ 3 * WINDOW + 4608, WINDOW - 1024 },
		{ WINDOW, 2 * WINDOW },
	};
	uint64_t seed = 1234567;

	(void)state;
	for (unsigned i = 0; i < 2 * N_ELEMS(sizes); i++) {
		const uint64_t *size = sizes[i / 2];
		uint64_t max = MAX_OF(size[0], size[1]);
		uint8_t *a = calloc(1, max);
		uint8_t *b = calloc(1, max);
		struct digest ra, rb;
		struct ranges r;

		MUST(a && b);
		change(a, size[0], &seed);
		memcpy(b, a, MIN_OF(size[0], size[1]));
		change(b, size[1], &seed);
		ra = fixture_disk(repo, a, size[0]);
		rb = fixture_disk(repo, b, size[1]);
		r = diff(&ra, size[0], &rb, size[1]);
		assert_true(r.n > 0);
		apply(&r, a, size[0], b, size[1]);
		assert_memory_equal(a, b, max);
		vec_fini(&r);
		r = diff(&rb, size[1], &rb, size[1]);
		expect(&r, NULL, 0);
		free(a);
		free(b);
	}
}

static struct digest chunk_of(uint64_t seed, uint32_t len)
{
	uint8_t *data = malloc(len);
	struct digest d;

	MUST(data);
	fixture_fill(data, len, seed);
	d = fixture_chunk(repo, data, len);
	free(data);
	return d;
}

struct part {
	enum blk_kind kind;
	uint32_t len, seed;
};

static struct digest leaf_of(const struct part *parts, size_t n)
{
	struct leaf *l = calloc(1, sizeof(*l));
	struct digest d;

	MUST(l);
	for (size_t i = 0; i < n; i++) {
		d = chunk_of(parts[i].seed, parts[i].len);
		leaf_add(l, parts[i].len, parts[i].kind, &d);
	}
	d = fixture_leaf(repo, l);
	free(l);
	return d;
}

/* The same chunk elsewhere, other cuts, lost against lost, all kinds. */
static void leaves_are_compared_extent_by_extent(void **state)
{
	static const struct part a[] = {
		{ BLK_DATA, 16384, 1 },
		{ BLK_ZERO, 4096, 0 },
		{ BLK_DATA, 16384, 2 },
		{ BLK_LOST, 8192, 0 },
		{ BLK_DATA, 4096, 3 },
		{ BLK_DATA, 4096, 4 },
	};
	static const struct part b[] = {
		{ BLK_DATA, 16384, 1 },
		{ BLK_DATA, 16384, 2 },
		{ BLK_ZERO, 4096, 0 },
		{ BLK_LOST, 12288, 0 },
		{ BLK_DATA, 4096, 4 },
	};
	static const struct range want[] = {
		{ 16384, 16384, BLK_DATA },
		{ 32768, 4096, BLK_ZERO },
		{ 45056, 4096, BLK_LOST },
	};
	struct digest la = leaf_of(a, N_ELEMS(a));
	struct digest lb = leaf_of(b, N_ELEMS(b));
	struct digest none = { 0 };
	struct ranges r = diff(&la, WINDOW, &lb, WINDOW);

	(void)state;
	expect(&r, want, N_ELEMS(want));
	/* against nothing at all, either way */
	r = diff(&none, 40960, &lb, 40960);
	expect(&r,
		(struct range[]){
			{ 0, 32768, BLK_DATA }, { 36864, 4096, BLK_LOST } },
		2);
	r = diff(&lb, WINDOW, &none, WINDOW);
	expect(&r,
		(struct range[]){
			{ 0, 32768, BLK_ZERO }, { 36864, 16384, BLK_ZERO } },
		2);
}

static void trees_of_other_heights(void **state)
{
	static const struct part part = { BLK_DATA, 16384, 7 };
	struct digest leaf = leaf_of(&part, 1);
	struct digest none = { 0 };
	struct fixture_slot slots[2] = { { 0, leaf }, { 300, leaf } };
	uint64_t far = 300 * WINDOW;
	struct digest low = fixture_tree(repo, slots, 1, 8 * WINDOW);
	struct digest high;
	struct ranges r;

	(void)state;
	slots[0] = (struct fixture_slot){ 0, leaf };
	slots[1] = (struct fixture_slot){ 300, leaf };
	high = fixture_tree(repo, slots, 2, 2 * TIB);
	/* what the low one has is in both; then all is beyond its end */
	r = diff(&low, 8 * WINDOW, &high, 2 * TIB);
	expect(&r,
		(struct range[]){ { 8 * WINDOW, far - 8 * WINDOW, BLK_ZERO },
			{ far, 16384, BLK_DATA },
			{ far + 16384, 2 * TIB - far - 16384, BLK_ZERO } },
		3);
	r = diff(&high, 2 * TIB, &low, 8 * WINDOW);
	expect(&r,
		(struct range[]){
			{ 8 * WINDOW, 2 * TIB - 8 * WINDOW, BLK_ZERO } },
		1);
	r = diff(&leaf, WINDOW, &high, 2 * TIB);
	assert_int_equal(r.n, 3);
	vec_fini(&r);
	r = diff(&none, 64 * TIB, &none, 64 * TIB);
	expect(&r, NULL, 0);
	r = diff(&none, 64 * TIB, &leaf, 512);
	expect(&r,
		(struct range[]){ { 0, 512, BLK_DATA },
			{ 512, 64 * TIB - 512, BLK_ZERO } },
		2);
}

/* 1000 windows, one of which differs: two roots, two nodes, two leaves. */
static void equal_subtrees_are_not_read(void **state)
{
	static const struct part one = { BLK_DATA, 16384, 8 };
	static const struct part two = { BLK_DATA, 16384, 9 };
	enum { N = 1000 };
	struct digest leaf = leaf_of(&one, 1), other = leaf_of(&two, 1);
	struct fixture_slot *slots = calloc(N, sizeof(*slots));
	uint64_t size = N * WINDOW;
	struct digest root[2];
	struct spy spy;
	struct repo front = spy_init(&spy, repo);
	struct cache *shared = cache;
	struct ranges r;

	(void)state;
	MUST(slots);
	for (unsigned k = 0; k < 2; k++) {
		for (unsigned i = 0; i < N; i++)
			slots[i] = (struct fixture_slot){ i,
				k && i == 700 ? other : leaf };
		root[k] = fixture_tree(repo, slots, N, size);
	}
	assert_int_equal(cache_new(&front, 16 << 20, &cache), 0);
	r = diff(&root[0], size, &root[1], size);
	expect(&r, (struct range[]){ { 700 * WINDOW, 16384, BLK_DATA } }, 1);
	assert_int_equal(spy.n_docs, 6);
	cache_free(cache);
	cache = shared;
	free(slots);
}

static int stop(void *arg, uint64_t off, uint64_t len, enum blk_kind kind)
{
	(void)off;
	(void)len;
	(void)kind;
	++*(unsigned *)arg;
	return 42;
}

static void a_visit_can_end_it_and_damage_does(void **state)
{
	struct digest missing = { .b = { 9 } };
	struct digest none = { 0 };
	struct disk *a, *b;
	unsigned n = 0;

	(void)state;
	MUST(disk_open(cache, "a", &none, 512, 512, &a) == 0);
	MUST(disk_open(cache, "b", &none, 1024, 512, &b) == 0);
	assert_int_equal(diff_disks(a, b, stop, &n), 42);
	assert_int_equal(n, 1);
	b->root = missing;
	assert_int_equal(diff_disks(a, b, stop, &n), -ENOENT);
	assert_non_null(strstr(fixture_said, "b: from byte 0 on: map"));
	disk_close(a);
	disk_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_turn_one_disk_into_the_other),
		cmocka_unit_test(leaves_are_compared_extent_by_extent),
		cmocka_unit_test(trees_of_other_heights),
		cmocka_unit_test(equal_subtrees_are_not_read),
		cmocka_unit_test(a_visit_can_end_it_and_damage_does),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards the way back: a disk reads as the bytes that its map was made of, at
 * any size, offset and length, and what cannot be read is an error that names
 * the disk and the bytes.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/repo-fixture.h"

#include <cmocka.h>

#include "repo/disk.h"

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

/* Runs of zeroes, of data, and of single pages of either. */
static uint8_t *random_disk(uint64_t size, uint64_t *seed)
{
	uint8_t *data = calloc(1, size);
	uint64_t off = 0;

	MUST(data);
	while (off < size) {
		uint64_t what = fixture_random(seed) % 4;
		uint64_t len = what < 2 ? PAGE_LEN
					: fixture_random(seed) % (600 << 10);

		len = MIN_OF(len, size - off);
		if (what % 2)
			fixture_fill(data + off, len, fixture_random(seed));
		off += len;
	}
	return data;
}

static struct disk *open_disk(const struct digest *root, uint64_t size)
{
	struct disk *d;

	MUST(disk_open(cache, "m/disk0@now", root, size, 512, &d) == 0);
	return d;
}

static void compare_pieces(
	const struct pieces *p, const uint8_t *want, uint32_t len)
{
	uint32_t done = 0;

	for (size_t i = 0; i < p->n; i++) {
		const struct piece *piece = &p->v[i];

		assert_true(piece->len > 0 && piece->len <= len - done);
		if (piece->data)
			assert_memory_equal(
				piece->data, want + done, piece->len);
		else
			assert_true(is_zero(want + done, piece->len));
		/* zeroes that meet are one piece */
		assert_true(i == 0 || piece->data || p->v[i - 1].data);
		done += piece->len;
	}
	assert_int_equal(done, len);
}

static void read_randomly(struct disk *d, const uint8_t *data, uint64_t *seed)
{
	for (unsigned i = 0; i < 60; i++) {
		uint64_t off = fixture_random(seed) % (d->size + 1);
		uint64_t max = i % 3 ? 9000 : 3 << 20;
		uint64_t len =
			MIN_OF(fixture_random(seed) % max, d->size - off);
		struct pieces p;

		if (i % 4 == 0)
			disk_prefetch(d, off, 2 * len);
		assert_int_equal(disk_read(d, off, (uint32_t)len, &p), 0);
		compare_pieces(&p, data + off, (uint32_t)len);
		pieces_fini(&p);
	}
}

/* Extents cover the disk, and what they call zero is. */
static void check_extents(struct blk *b, const uint8_t *data)
{
	uint64_t off = 0;

	while (off < b->size) {
		struct blk_extent e;

		assert_int_equal(blk_extent(b, off, b->size - off, &e), 0);
		assert_int_equal(is_zero(data + off, MIN_OF(e.len, 4096u)),
			e.kind == BLK_ZERO);
		if (e.kind == BLK_ZERO)
			assert_true(is_zero(data + off, e.len));
		off += e.len;
	}
	assert_int_equal(off, b->size);
}

static void a_disk_reads_as_what_it_was(void **state)
{
	static const uint64_t sizes[] = { 512, 1024, 4096, 4608, 1 << 20,
		WINDOW - 512, WINDOW, WINDOW + 512, 2 * WINDOW + 3584,
		5 * WINDOW };
	uint64_t seed = 4711;

	(void)state;
	for (size_t i = 0; i < N_ELEMS(sizes); i++) {
		uint8_t *data = random_disk(sizes[i], &seed);
		uint8_t *got = malloc(sizes[i]);
		struct digest root = fixture_disk(repo, data, sizes[i]);
		struct disk *d = open_disk(&root, sizes[i]);
		struct blk *b;

		MUST(got);
		read_randomly(d, data, &seed);
		assert_int_equal(disk_blk(d, &b), 0);
		assert_int_equal(b->size, sizes[i]);
		assert_int_equal(blk_pread(b, got, sizes[i], 0), 0);
		assert_memory_equal(got, data, sizes[i]);
		check_extents(b, data);
		assert_true(blk_pwrite(b, got, 512, 0) == -EROFS);
		blk_close(b);
		disk_close(d);
		free(got);
		free(data);
	}
}

static void an_empty_disk_is_zeroes(void **state)
{
	static const uint64_t sizes[] = { 512, WINDOW, 3 * TIB, 64 * TIB };
	struct digest none = { 0 };

	(void)state;
	for (size_t i = 0; i < N_ELEMS(sizes); i++) {
		struct disk *d = open_disk(&none, sizes[i]);
		struct pieces p;
		struct run run;

		assert_int_equal(disk_run(d, 0, sizes[i], &run), 0);
		assert_int_equal(run.kind, BLK_ZERO);
		assert_int_equal(run.len, sizes[i]);
		assert_int_equal(disk_run(d, 511, 512, &run), 0);
		assert_int_equal(run.len, 1);
		assert_int_equal(disk_read(d, sizes[i] - 512, 512, &p), 0);
		assert_int_equal(p.n, 1);
		assert_null(p.v[0].data);
		pieces_fini(&p);
		assert_int_equal(disk_read(d, sizes[i], 0, &p), 0);
		assert_int_equal(p.n, 0);
		pieces_fini(&p);
		disk_close(d);
	}
}

/* Data in a few windows of 64 TiB; what is between them costs nothing. */
static void a_sparse_disk_of_the_largest_size(void **state)
{
	static const uint64_t windows[] = { 0, 255, 256, 65536 * 3 + 77,
		64 * TIB / WINDOW - 1 };
	enum { N = N_ELEMS(windows) };
	struct fixture_slot slots[N];
	uint8_t *data[N];
	uint64_t seed = 99, at = 0, size = 64 * TIB;
	struct digest root;
	struct disk *d;
	struct blk *b;
	unsigned n_runs = 0;

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		data[i] = random_disk(WINDOW, &seed);
		fixture_fill(data[i], 4096, i);
		slots[i].window = windows[i];
		slots[i].map = fixture_window(repo, data[i], WINDOW);
	}
	root = fixture_tree(repo, slots, N, size);
	d = open_disk(&root, size);
	assert_int_equal(disk_blk(d, &b), 0);
	for (unsigned i = 0; i < N; i++) {
		uint64_t off = windows[i] * WINDOW;
		struct pieces p;

		assert_int_equal(disk_read(d, off, WINDOW, &p), 0);
		compare_pieces(&p, data[i], WINDOW);
		pieces_fini(&p);
	}
	while (at < size) {
		struct run run;

		assert_int_equal(disk_run(d, at, size, &run), 0);
		assert_true(run.len > 0 && run.len <= size - at);
		if (run.kind == BLK_DATA)
			assert_true(
				run.within == 0 && run.len == run.chunk_len);
		at += run.len;
		n_runs++;
	}
	assert_true(n_runs < 7000);
	blk_close(b);
	disk_close(d);
	for (unsigned i = 0; i < N; i++)
		free(data[i]);
}

static struct digest one_extent(
	enum blk_kind kind, uint32_t len, const struct digest *chunk)
{
	struct leaf *l = calloc(1, sizeof(*l));
	struct digest d;

	MUST(l);
	leaf_add(l, 8192, BLK_ZERO, NULL);
	leaf_add(l, len, kind, chunk);
	d = fixture_leaf(repo, l);
	free(l);
	return d;
}

static void what_was_lost_is_an_error(void **state)
{
	struct digest root = one_extent(BLK_LOST, 4096, NULL);
	struct disk *d = open_disk(&root, 1 << 20);
	struct blk_extent e;
	struct pieces p;
	struct blk *b;

	(void)state;
	assert_int_equal(disk_blk(d, &b), 0);
	assert_int_equal(disk_read(d, 0, 8192, &p), 0);
	pieces_fini(&p);
	assert_int_equal(disk_read(d, 0, 8193, &p), -EIO);
	assert_non_null(
		strstr(fixture_said, "m/disk0@now: bytes 8192 to 8193"));
	assert_int_equal(blk_extent(b, 8192, 8192, &e), 0);
	assert_int_equal(e.kind, BLK_LOST);
	assert_int_equal(e.len, 4096);
	assert_int_equal(disk_read(d, 12288, 512, &p), 0);
	pieces_fini(&p);
	blk_close(b);
	disk_close(d);
}

static void damage_names_the_disk_and_the_bytes(void **state)
{
	uint8_t data[8192];
	struct digest none = { .b = { 1 } };
	struct digest chunk, root;
	struct pieces p;
	struct run run;
	struct disk *d;

	(void)state;
	fixture_fill(data, sizeof(data), 5);
	chunk = fixture_chunk(repo, data, sizeof(data));
	/* a chunk that is shorter than its extent says */
	root = one_extent(BLK_DATA, 16384, &chunk);
	d = open_disk(&root, 1 << 20);
	assert_int_equal(disk_read(d, 10000, 1000, &p), -EBADMSG);
	assert_non_null(
		strstr(fixture_said, "m/disk0@now: bytes 10000 to 11000"));
	disk_close(d);
	/* a chunk, then a map, that is missing */
	root = one_extent(BLK_DATA, 16384, &none);
	d = open_disk(&root, 1 << 20);
	assert_int_equal(disk_read(d, 0, 4096, &p), 0);
	pieces_fini(&p);
	assert_int_equal(disk_read(d, 0, 1 << 20, &p), -ENOENT);
	assert_non_null(
		strstr(fixture_said, "m/disk0@now: bytes 8192 to 24576"));
	disk_close(d);
	d = open_disk(&none, 1 << 20);
	disk_prefetch(d, 0, 1 << 20);
	assert_int_equal(disk_run(d, 100, 1000, &run), -ENOENT);
	assert_non_null(strstr(fixture_said, "m/disk0@now: bytes 100 to 1000"));
	disk_close(d);
	/* a leaf where the size asks for a node */
	root = one_extent(BLK_DATA, 8192, &chunk);
	d = open_disk(&root, 3 * WINDOW);
	assert_int_equal(disk_read(d, 0, 512, &p), -EBADMSG);
	disk_close(d);
}

/* The chunks of one request that are missing come in one request. */
static void a_read_fetches_its_chunks_together(void **state)
{
	uint64_t seed = 3;
	uint8_t *data = malloc(1 << 20);
	struct spy spy;
	struct repo front = spy_init(&spy, repo);
	struct cache *own;
	struct digest root;
	struct pieces p;
	struct disk *d;

	(void)state;
	MUST(data);
	fixture_fill(data, 1 << 20, fixture_random(&seed));
	root = fixture_disk(repo, data, 1 << 20);
	assert_int_equal(cache_new(&front, 16 << 20, &own), 0);
	assert_int_equal(disk_open(own, "m", &root, 1 << 20, 512, &d), 0);
	assert_int_equal(disk_read(d, 0, 1 << 20, &p), 0);
	assert_true(p.n >= 8);
	compare_pieces(&p, data, 1 << 20);
	pieces_fini(&p);
	assert_int_equal(spy.n_calls, 2); /* the leaf, the chunks */
	disk_close(d);
	cache_free(own);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_reads_as_what_it_was),
		cmocka_unit_test(an_empty_disk_is_zeroes),
		cmocka_unit_test(a_sparse_disk_of_the_largest_size),
		cmocka_unit_test(what_was_lost_is_an_error),
		cmocka_unit_test(damage_names_the_disk_and_the_bytes),
		cmocka_unit_test(a_read_fetches_its_chunks_together),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards a clone's disk against a plain buffer: random writes, zeroes, folds,
 * commits and reopenings; that the point it came from never changes; that
 * scattered writes cost the chunks they touch; and that what views keep beside
 * it stays with it, in order, also where the stream is torn off.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "mongo_help.h"
#include "src/log.h" /* before cmocka.h, which has a macro fail() */

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "repo/chunk.h"
#include "repo/fold.h"
#include "repo/ingest.h"
#include "repo/live_fold.h"
#include "repo/open_clone.h"
#include "src/blk_file.h"
#include "src/bytes.h"

#include <fcntl.h>

#define SIZE (3 * WINDOW_LEN + 3 * 512)

static char dir[64], image[96];
static struct repo *repo;
static struct cache *cache;
static uint8_t *want;
static struct point base;
static uint64_t seed = 1;

/* what two views keep, over bytes that are all 0xee */
#define SIDE_LEN 5000u
static uint8_t want_side[2][SIDE_LEN];

static uint64_t rnd(uint64_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % below;
}

static void fill(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(rnd(1 << 20) >> 12);
}

static void back_up(struct point *ret)
{
	int fd = open(image, O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct ingest_disk disk = { .name = "disk0" };
	struct ingest job = { .repo = repo,
		.machine = "m",
		.disks = &disk,
		.n_disks = 1,
		.n_threads = 2,
		.consistency = CONSISTENCY_CRASH };

	assert_true(fd >= 0);
	assert_int_equal(write(fd, want, SIZE), SIZE);
	assert_int_equal(blk_file_new(fd, image, false, &disk.source), 0);
	assert_int_equal(ingest(&job, ret), 0);
	blk_close(disk.source);
}

static int set_up(void **state)
{
	struct uuid uuid;
	const char *url;

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test-live.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(image, sizeof(image), "%s.img", dir);
	want = malloc(SIZE + PAGE_LEN);
	memset(want, 0, SIZE + PAGE_LEN);
	for (uint64_t off = 0; off < SIZE; off += 3 << 17)
		fill(want + off, MIN_OF(SIZE - off, UINT64_C(1) << 18));
	memset(want_side, 0xee, sizeof(want_side));
	url = help_repository(dir);
	if (repo_init(url, 1, &uuid) < 0 || repo_open(url, 0, &repo) < 0)
		return -1;
	if (cache_new(repo, 32 << 20, &cache) < 0)
		return -1;
	back_up(&base);
	return 0;
}

static int tear_down(void **state)
{
	char command[256];

	(void)state;
	point_fini(&base);
	cache_free(cache);
	repo_close(repo);
	free(want);
	help_repository_end();
	snprintf(command, sizeof(command), "rm -rf '%s' '%s'", dir, image);
	return system(command);
}

static const struct stream_owner me = {
	.host = "here", .pid = 1, .place = "test"
};

static void check(struct live *l, uint64_t off, uint32_t len)
{
	uint8_t *got = malloc(len + 1);
	struct pieces p;

	assert_int_equal(live_read(l, off, len, &p), 0);
	pieces_copy(&p, got);
	pieces_fini(&p);
	assert_memory_equal(got, want + off, len);
	free(got);
}

static void check_side(struct live *l)
{
	uint8_t got[SIDE_LEN];

	for (uint8_t i = 0; i < 2; i++) {
		memset(got, 0xee, SIDE_LEN);
		side_read(live_side(l), i + 1, 0, SIDE_LEN, got);
		assert_memory_equal(got, want_side[i], SIDE_LEN);
	}
}

static void write_side(struct live *l)
{
	uint8_t i = (uint8_t)rnd(2);
	struct wrecord r = { .space = i + 1, .off = rnd(SIDE_LEN) };

	r.len = 1 + rnd(MIN_OF(SIDE_LEN - r.off, UINT64_C(600)));
	fill(want_side[i] + r.off, r.len);
	assert_int_equal(live_write_side(l, &r, want_side[i] + r.off), 0);
}

/* All its bytes; and what it says of holes and blocks is true. */
static void check_all(struct live *l)
{
	uint64_t data = 0;

	for (uint64_t off = 0; off < SIZE; off += 1 << 20)
		check(l, off, (uint32_t)MIN_OF(SIZE - off, UINT64_C(1) << 20));
	for (uint64_t off = 0; off < SIZE;) {
		struct blk_extent e;

		assert_int_equal(live_extent(l, off, SIZE, &e), 0);
		assert_true(e.len > 0 && off + e.len <= SIZE);
		if (e.kind == BLK_ZERO)
			assert_true(is_zero(want + off, e.len));
		else
			data += e.len;
		off += e.len;
	}
	assert_int_equal(live_data(l), data);
	check_side(l);
}

static void one_write(struct live *l)
{
	uint64_t off = rnd(SIZE);
	uint32_t len = (uint32_t)(1 + rnd(rnd(8) ? 9000 : 300000));
	unsigned what = (unsigned)rnd(10);

	if (rnd(2))
		off = round_down(off, 4096);
	len = (uint32_t)MIN_OF((uint64_t)len, SIZE - off);
	if (what < 2) {
		assert_int_equal(live_zero(l, off, len), 0);
		memset(want + off, 0, len);
	} else {
		if (what == 2)
			memset(want + off, 0, len);
		else
			fill(want + off, len);
		assert_int_equal(live_write(l, off, len, want + off), 0);
	}
	if (what == 3)
		check(l, off, len);
	if (what == 4)
		write_side(l);
}

static struct open_clone *take_clone(const char *name)
{
	struct open_clone *o;
	struct clone c;

	assert_int_equal(clone_fork(repo, &base, name, &c), 0);
	assert_int_equal(open_clone_take(cache, &c.id, &me, &o), 0);
	clone_fini(&c);
	return o;
}

static struct open_clone *reopen(struct open_clone *o, const struct uuid *id)
{
	struct open_clone *fresh;

	open_clone_close(o);
	assert_int_equal(open_clone_take(cache, id, &me, &fresh), 0);
	return fresh;
}

static void assert_point_is(const struct point *p, const uint8_t *bytes)
{
	struct disk *d;
	struct pieces pieces;
	uint8_t *got = malloc(SIZE);

	assert_int_equal(
		disk_open(cache, "m", &p->disks.v[0].root, SIZE, 512, &d), 0);
	assert_int_equal(disk_read(d, 0, SIZE, &pieces), 0);
	pieces_copy(&pieces, got);
	pieces_fini(&pieces);
	assert_memory_equal(got, bytes, SIZE);
	disk_close(d);
	free(got);
}

static void against_a_buffer(void **state)
{
	uint8_t *before = malloc(SIZE);
	struct open_clone *o = take_clone(NULL);
	struct uuid id = clone_own_id(&base.id);

	(void)state;
	memcpy(before, want, SIZE);
	for (unsigned round = 0; round < 60; round++) {
		struct live *l = open_clone_disk(o, 0);
		struct point p;

		for (unsigned i = 0; i < 40; i++)
			one_write(l);
		check_all(l);
		if (round % 3 == 1) {
			o = reopen(o, &id);
			check_all(open_clone_disk(o, 0));
		}
		if (round % 5 == 2) {
			assert_int_equal(open_clone_commit(o, &p), 0);
			check_all(open_clone_disk(o, 0));
			assert_point_is(&p, want);
			assert_int_equal(p.disks.v[0].stats.data,
				live_data(open_clone_disk(o, 0)));
			point_fini(&p);
		}
	}
	assert_point_is(&base, before);
	open_clone_close(o);
	free(before);
}

/* A fold while writes go on: what is written meanwhile stays on top. */
static void folding_beside_writes(void **state)
{
	struct open_clone *o = take_clone("work");
	struct uuid id = clone_named_id("work");
	struct live *l = open_clone_disk(o, 0);
	struct fold_control control = { .stop = false };
	struct clone c;

	(void)state;
	for (unsigned round = 0; round < 30; round++) {
		struct fold_stats stats;
		struct fold f = { .repo = repo,
			.clone = &c,
			.disks = &l,
			.n_threads = 2,
			.sparse_pages = round % 2 ? 64 : 0,
			.control = &control };

		for (unsigned i = 0; i < 20; i++)
			one_write(l);
		live_hold(l);
		assert_int_equal(live_freeze(l), 1);
		live_unhold(l);
		for (unsigned i = 0; i < 20; i++)
			one_write(l);
		check_all(l);
		assert_int_equal(clone_get(repo, &id, &c), 0);
		assert_int_equal(fold(&f, &stats), 0);
		clone_fini(&c);
		check_all(l);
	}
	open_clone_close(o);
	assert_int_equal(open_clone_take(cache, &id, &me, &o), 0);
	check_all(open_clone_disk(o, 0));
	open_clone_close(o);
}

/* The file of the only stream that has records. */
static void stream_path(char *path, size_t cap)
{
	char command[128];
	FILE *f;

	snprintf(command, sizeof(command),
		"ls -S '%s'/streams/*/*.str | head -1", dir);
	f = popen(command, "r");
	assert_true(f && fgets(path, (int)cap, f));
	path[strcspn(path, "\n")] = 0;
	pclose(f);
}

/* Behind its last record: zeroes are written ahead. */
static uint64_t stream_end(const char *path)
{
	uint8_t b[4096];
	uint64_t end = 0, off = 0;
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	while ((n = fread(b, 1, sizeof(b), f)) > 0) {
		for (size_t i = 0; i < n; i++)
			end = b[i] ? off + i + 1 : end;
		off += n;
	}
	fclose(f);
	return round_up(end, 8);
}

static uint64_t stamp_of_disk(struct live *l)
{
	uint8_t b[8];
	struct pieces p;

	assert_int_equal(live_read(l, 0, 8, &p), 0);
	pieces_copy(&p, b);
	pieces_fini(&p);
	return get_le64(b);
}

/* Whatever is torn off: one order for the disk and for what is beside it. */
static void torn_off(void **state)
{
	struct open_clone *o = take_clone("torn");
	struct uuid id = clone_named_id("torn");
	struct wrecord r = { .space = 3, .off = 777, .len = 8 };
	char path[256];
	off_t len;

	(void)state;
	for (uint64_t i = 1; i <= 60; i++) {
		uint8_t b[8];

		put_le64(b, i);
		assert_int_equal(live_write(open_clone_disk(o, 0), 0, 8, b), 0);
		assert_int_equal(
			live_write_side(open_clone_disk(o, 0), &r, b), 0);
	}
	open_clone_close(o);
	if (help_server()) /* no files to cut */
		skip();
	stream_path(path, sizeof(path));
	for (len = 60 * (4096 + 200); len > 20000; len -= 5003) {
		uint8_t b[8] = { 0 };
		uint64_t disk;

		assert_int_equal(truncate(path, len), 0);
		assert_int_equal(open_clone_take(cache, &id, &me, &o), 0);
		disk = stamp_of_disk(open_clone_disk(o, 0));
		side_read(live_side(open_clone_disk(o, 0)), 3, 777, 8, b);
		assert_true(disk == get_le64(b) || disk == get_le64(b) + 1);
		assert_true(disk < 60 && disk > 0);
		open_clone_close(o);
	}
}

/* Of the last record of a file: up to where all was durable by then. */
static uint64_t last_synced(const char *path)
{
	uint64_t end = stream_end(path), synced = 0;
	uint8_t head[56];
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	for (uint64_t at = 4096; at + sizeof(head) <= end;) {
		assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
		assert_int_equal(fread(head, sizeof(head), 1, f), 1);
		synced = get_le64(head + 0x18);
		at += sizeof(head) + round_up(get_le32(head + 0xc), 8);
	}
	fclose(f);
	return synced;
}

/* What nobody asked to be durable becomes so by itself. */
static void synced_unasked(void **state)
{
	struct open_clone *o = take_clone("unasked");
	struct live *l = open_clone_disk(o, 0);
	uint64_t before, synced = 0;
	char path[256];

	(void)state;
	if (help_server()) { /* no files to look at */
		open_clone_close(o);
		skip();
	}
	assert_int_equal(live_write(l, 0, 8, want), 0);
	stream_path(path, sizeof(path));
	before = last_synced(path);
	open_clone_wrote(o, 8);
	/* by a record behind it, of which the keeper is told nothing */
	for (unsigned i = 0; synced <= before && i < 600; i++) {
		usleep(100000);
		assert_int_equal(live_write(l, 0, 8, want), 0);
		synced = last_synced(path);
	}
	assert_true(synced > before);
	open_clone_close(o);
}

/* A fold that dies while it carries them on leaves them as they were. */
static void carried_in_part(void **state)
{
	struct open_clone *o = take_clone("part");
	struct uuid id = clone_named_id("part");
	char path[256];
	off_t before, after;
	struct live *l;

	(void)state;
	for (unsigned i = 0; i < 50; i++)
		write_side(open_clone_disk(o, 0));
	open_clone_close(o);
	if (help_server()) /* no files to cut */
		skip();
	stream_path(path, sizeof(path));
	for (unsigned i = 0; i < 12; i++) {
		assert_int_equal(open_clone_take(cache, &id, &me, &o), 0);
		l = open_clone_disk(o, 0);
		check_side(l);
		before = (off_t)stream_end(path);
		live_hold(l);
		assert_int_equal(live_freeze(l), 1);
		live_unhold(l);
		assert_int_equal(live_carry_side(l), 0);
		after = (off_t)stream_end(path);
		open_clone_close(o);
		assert_true(after > before);
		assert_int_equal(
			truncate(path, before + (off_t)rnd((uint64_t)(after -
								      before))),
			0);
	}
	assert_int_equal(open_clone_take(cache, &id, &me, &o), 0);
	check_all(open_clone_disk(o, 0));
	open_clone_close(o);
}

/* Only what views keep was written: it is folded, too, and kept. */
static void side_alone(void **state)
{
	struct open_clone *o = take_clone(NULL);
	struct uuid id = clone_own_id(&base.id);
	struct clone c;

	(void)state;
	assert_false(open_clone_written(o));
	for (unsigned i = 0; i < 5; i++) {
		struct point p;

		write_side(open_clone_disk(o, 0));
		assert_true(open_clone_written(o));
		assert_int_equal(open_clone_commit(o, &p), 0);
		assert_point_is(&p, want);
		assert_memory_equal(&p.disks.v[0].root, &base.disks.v[0].root,
			sizeof(struct digest));
		point_fini(&p);
		check_all(open_clone_disk(o, 0));
		assert_int_equal(clone_get(repo, &id, &c), 0);
		assert_true(c.disks.v[0].from > i);
		clone_fini(&c);
		o = reopen(o, &id);
		check_all(open_clone_disk(o, 0));
	}
	open_clone_close(o);
}

static void scattered_writes_cost_their_chunks(void **state)
{
	struct open_clone *o = take_clone("few");
	struct uuid id = clone_named_id("few");
	struct live *l = open_clone_disk(o, 0);
	struct fold_stats stats;
	struct clone c;
	struct fold_control control = { .stop = false };
	struct fold f = { .repo = repo,
		.clone = &c,
		.disks = &l,
		.n_threads = 1,
		.control = &control };

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		uint64_t off = (i * 2 + 1) * (UINT64_C(3) << 17) + 65536;

		fill(want + off, 4096);
		assert_int_equal(live_write(l, off, 4096, want + off), 0);
	}
	live_hold(l);
	assert_int_equal(live_freeze(l), 1);
	live_unhold(l);
	assert_int_equal(clone_get(repo, &id, &c), 0);
	assert_int_equal(fold(&f, &stats), 0);
	clone_fini(&c);
	check_all(l);
	assert_true(stats.fresh <= 6 * 2 * CHUNK_MAX);
	assert_true(stats.read <= 6 * 3 * CHUNK_MAX);
	open_clone_close(o);
}

static void hush(enum log_level level, const char *text)
{
	(void)level;
	(void)text;
}

static void one_owner_at_a_time(void **state)
{
	struct open_clone *o = take_clone(NULL), *second;
	struct uuid id = clone_own_id(&base.id);
	struct clone c;
	struct live *l;

	(void)state;
	one_write(open_clone_disk(o, 0));
	log_set_sink(hush);
	assert_int_equal(open_clone_take(cache, &id, &me, &second), -EBUSY);
	log_set_sink(NULL);
	/* what nobody synced may be on its way to a server still */
	if (help_server())
		assert_int_equal(live_sync(open_clone_disk(o, 0)), 0);
	/* who does not own it reads it as it is now */
	assert_int_equal(clone_get(repo, &id, &c), 0);
	assert_int_equal(live_open(cache, "peek", &c.disks.v[0], NULL, &l), 0);
	check_all(l);
	assert_int_equal(live_write(l, 0, 512, want), -EROFS);
	live_close(l);
	clone_fini(&c);
	open_clone_close(o);
}

static void a_discarded_clone_begins_anew(void **state)
{
	uint8_t *before = malloc(SIZE);
	struct open_clone *o = take_clone(NULL);
	struct uuid id = clone_own_id(&base.id);
	struct clone c;

	(void)state;
	memcpy(before, want, SIZE);
	for (unsigned i = 0; i < 10; i++)
		one_write(open_clone_disk(o, 0));
	open_clone_close(o);
	assert_int_equal(clone_get(repo, &id, &c), 0);
	assert_int_equal(clone_discard(repo, &c), 0);
	clone_fini(&c);
	assert_int_equal(clone_get(repo, &id, &c), -ENOENT);
	memcpy(want, before, SIZE);
	memset(want_side, 0xee, sizeof(want_side));
	o = take_clone(NULL);
	check_all(open_clone_disk(o, 0));
	open_clone_close(o);
	free(before);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(against_a_buffer),
		TEST(folding_beside_writes),
		TEST(torn_off),
		TEST(synced_unasked),
		TEST(carried_in_part),
		TEST(side_alone),
		TEST(scattered_writes_cost_their_chunks),
		TEST(one_owner_at_a_time),
		TEST(a_discarded_clone_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards the life of a backup: what went in comes out, an unchanged disk costs
 * nothing, and a backup that fails, or was given up, publishes nothing.
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
#include <time.h>
#include <unistd.h>

#include "repo/chunk.h"
#include "repo/condemned.h"
#include "repo/disk.h"
#include "repo/ingest.h"
#include "repo/label.h"
#include "repo/machine.h"
#include "repo/quarantine.h"
#include "repo/writer.h"
#include "src/bytes.h"

/* A disk in memory, with holes of a size to taste and pages that fail. */
struct mem {
	struct blk blk;
	uint8_t *bytes; /* of the first `len`; the rest is a hole */
	uint64_t len;
	uint64_t bad; /* offset of a page that cannot be read, or UINT64_MAX */
	bool gone, touched;
	_Atomic int
		reads_left; /* then `meanwhile` is called, once; < 0: never */
	void (*meanwhile)(void);
};

static int mem_pread(struct blk *b, void *buf, size_t len, uint64_t off)
{
	struct mem *m = (struct mem *)b;

	if (m->reads_left >= 0 && m->reads_left-- == 0)
		m->meanwhile();
	if (m->gone || (m->bad < off + len && off < m->bad + PAGE_LEN))
		return -EIO;
	memcpy(buf, m->bytes + off, len);
	return 0;
}

static int mem_extent(
	struct blk *b, uint64_t off, uint64_t len, struct blk_extent *ret)
{
	const struct mem *m = (const struct mem *)b;

	ret->kind = off < m->len ? BLK_DATA : BLK_ZERO;
	ret->len = off < m->len ? MIN_OF(len, m->len - off) : len;
	return 0;
}

static int mem_changed(struct blk *b)
{
	const struct mem *m = (const struct mem *)b;

	return m->gone ? -EIO : m->touched;
}

static void mem_close(struct blk *b)
{
	(void)b;
}

static const struct blk_ops mem_ops = {
	.pread = mem_pread,
	.extent = mem_extent,
	.changed = mem_changed,
	.close = mem_close,
};

static void fill(uint8_t *p, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		p[i] = (uint8_t)(seed >> 60); /* compresses by half */
	}
}

static struct mem mem_new(uint64_t size, uint64_t data, uint64_t seed)
{
	static char name[] = "memory";
	struct mem m = { .blk = { .ops = &mem_ops,
				 .name = name,
				 .size = size,
				 .sector_size = 512 },
		.len = data,
		.bad = UINT64_MAX,
		.reads_left = -1 };

	m.bytes = malloc(data + 1);
	assert_non_null(m.bytes);
	fill(m.bytes, data, seed);
	return m;
}

static char dir[64];
static struct repo *repo;

static int set_up(void **state)
{
	const char *url;
	struct uuid uuid;

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test-ingest.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	url = help_repository(dir);
	return repo_init(url, 1, &uuid) < 0 ? -1 : repo_open(url, 0, &repo);
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	repo_close(repo);
	help_repository_end();
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

static void hush(enum log_level level, const char *text)
{
	(void)level;
	(void)text;
}

static struct ingest job_of(const struct ingest_disk *disk)
{
	return (struct ingest){ .repo = repo,
		.machine = "m",
		.disks = disk,
		.n_disks = 1,
		.n_threads = 3,
		.consistency = CONSISTENCY_CRASH };
}

static int back_up(struct mem *m, bool skip_errors, struct point *ret)
{
	struct ingest_disk disk = {
		.name = "disk0", .source = &m->blk, .source_name = "memory"
	};
	struct ingest job = job_of(&disk);

	job.skip_errors = skip_errors;
	return ingest(&job, ret);
}

/* The point's disk holds what the memory did. */
static void assert_same(const struct point *p, struct mem *m)
{
	const struct point_disk *d = &p->disks.v[0];
	struct cache *cache;
	struct disk *disk;
	struct blk *blk;
	uint64_t off;

	assert_int_equal(cache_new(repo, 32 << 20, &cache), 0);
	assert_int_equal(disk_open(cache, "m/disk0", &d->root, d->size,
				 d->sector_size, &disk),
		0);
	assert_int_equal(disk_blk(disk, &blk), 0);
	assert_int_equal(blk_compare(blk, &m->blk, &off), 0);
	blk_close(blk);
	disk_close(disk);
	cache_free(cache);
}

static void count_points(unsigned want)
{
	struct store_count c;

	assert_int_equal(store_count(repo->store, COLL_POINTS, &c), 0);
	assert_int_equal(c.n, want);
	/* no backup, however it ended, may leave its registration behind */
	assert_int_equal(store_count(repo->store, COLL_WRITERS, &c), 0);
	assert_int_equal(c.n, 0);
}

static void every_size_comes_back(void **state)
{
	static const uint64_t sizes[] = { 512, 4096, 4096 + 512, 1 << 20,
		WINDOW_LEN - 512, WINDOW_LEN, WINDOW_LEN + 512,
		3 * WINDOW_LEN + 1536 };
	struct point p;

	(void)state;
	for (size_t i = 0; i < N_ELEMS(sizes); i++) {
		struct mem m = mem_new(sizes[i], sizes[i], i);

		assert_int_equal(back_up(&m, false, &p), 0);
		assert_same(&p, &m);
		assert_int_equal(p.disks.v[0].stats.read, sizes[i]);
		point_fini(&p);
		free(m.bytes);
	}
	count_points(N_ELEMS(sizes));
}

static void an_unchanged_disk_costs_nothing(void **state)
{
	struct mem m = mem_new(5 * WINDOW_LEN, 5 * WINDOW_LEN, 1);
	struct point a, b;

	(void)state;
	assert_int_equal(back_up(&m, false, &a), 0);
	assert_int_equal(back_up(&m, false, &b), 0);
	assert_true(a.disks.v[0].stats.n_maps == 6);
	assert_true(b.has_parent);
	assert_true(digest_eq(&a.disks.v[0].root, &b.disks.v[0].root));
	assert_int_equal(b.disks.v[0].stats.n_chunks, 0);
	assert_int_equal(b.disks.v[0].stats.n_maps, 0);
	assert_int_equal(b.disks.v[0].stats.changed, 0);
	point_fini(&b);

	/* one page: one leaf, one node, a chunk or two */
	m.bytes[2 * WINDOW_LEN + 77777] ^= 1;
	assert_int_equal(back_up(&m, false, &b), 0);
	assert_same(&b, &m);
	assert_int_equal(b.disks.v[0].stats.n_maps, 2);
	assert_true(b.disks.v[0].stats.n_chunks <= 2);
	assert_int_equal(b.disks.v[0].stats.changed, WINDOW_LEN);
	point_fini(&a);
	point_fini(&b);
	free(m.bytes);
}

static void sixty_four_tebibytes_of_hole(void **state)
{
	struct mem m = mem_new(DISK_MAX, WINDOW_LEN + 4096, 3);
	struct point p;

	(void)state;
	assert_int_equal(back_up(&m, false, &p), 0);
	assert_int_equal(p.disks.v[0].stats.read, WINDOW_LEN + 4096);
	assert_same(&p, &m);
	point_fini(&p);
	free(m.bytes);
}

static void bad_pages_fail_or_are_lost(void **state)
{
	struct mem m = mem_new(2 * WINDOW_LEN, 2 * WINDOW_LEN, 4);
	struct point p;

	(void)state;
	m.bad = WINDOW_LEN + 8 * PAGE_LEN;
	assert_int_equal(back_up(&m, false, &p), -EIO);
	count_points(0);
	assert_int_equal(back_up(&m, true, &p), 0);
	assert_int_equal(p.disks.v[0].stats.lost, PAGE_LEN);
	assert_int_equal(p.disks.v[0].stats.data, 2 * WINDOW_LEN - PAGE_LEN);
	point_fini(&p);

	/* a source that is gone altogether is no dying disk */
	log_set_sink(hush);
	m.gone = true;
	assert_int_equal(back_up(&m, true, &p), -EIO);
	m.gone = false;
	m.bad = UINT64_MAX;
	m.touched = true;
	assert_int_equal(back_up(&m, false, &p), -ESTALE);
	log_set_sink(NULL);
	count_points(1);
	free(m.bytes);
}

static void a_dry_run_writes_nothing(void **state)
{
	struct mem m = mem_new(2 * WINDOW_LEN, 2 * WINDOW_LEN, 5);
	struct ingest_disk disk = { .name = "disk0", .source = &m.blk };
	struct ingest job = job_of(&disk);
	struct store_count c;
	struct point p;

	(void)state;
	job.dry_run = true;
	assert_int_equal(ingest(&job, &p), 0);
	assert_int_equal(p.disks.v[0].stats.fresh, 2 * WINDOW_LEN);
	assert_true(p.disks.v[0].stats.stored < 2 * WINDOW_LEN);
	point_fini(&p);
	for (enum coll c_i = COLL_MACHINES; c_i < N_COLLS; c_i++) {
		assert_int_equal(store_count(repo->store, c_i, &c), 0);
		assert_int_equal(c.n, 0);
	}
	free(m.bytes);
}

static void a_point_is_removed_once(void **state)
{
	struct mem m = mem_new(4096, 4096, 6);
	struct point p, q;

	(void)state;
	assert_int_equal(back_up(&m, false, &p), 0);
	assert_int_equal(point_remove(repo, &p.id), 0);
	assert_int_equal(point_remove(repo, &p.id), -ENOENT);
	assert_int_equal(point_get(repo, &p.id, &q), -ENOENT);
	assert_int_equal(point_latest(repo, &p.id.machine, &q), -ENOENT);
	point_fini(&p);
	free(m.bytes);
}

/*
 * What a collector does to a writer it takes for dead: a tombstone under the
 * key it would publish, then its document goes.
 */
static int give_up(void *arg, const struct doc *d)
{
	/* {"tombstone": true} */
	static const uint8_t body[] = "\x11\0\0\0\x08tombstone\0\1";
	struct point_id id = { .time = *(int64_t *)arg };
	struct doc tomb = {
		.coll = COLL_POINTS, .version = 1, .body = body, .len = 17
	};
	struct uuid machine;

	assert_int_equal(machine_get(repo, "m", &machine), 0);
	memcpy(id.writer.b, d->key.b, sizeof(id.writer.b));
	id.machine = machine;
	for (int s = -2; s <= 2; s++) {
		struct point_id around = id;

		around.time += s;
		tomb.key = point_key(&around);
		assert_int_equal(store_insert(repo->store, &tomb), 0);
	}
	return store_remove(repo->store, COLL_WRITERS, &d->key, d->version);
}

static void give_all_up(void)
{
	int64_t now = time(NULL);

	assert_int_equal(
		store_scan(repo->store, COLL_WRITERS, NULL, 0, give_up, &now),
		0);
}

static void a_writer_given_up_publishes_nothing(void **state)
{
	struct mem m = mem_new(2 * WINDOW_LEN, 2 * WINDOW_LEN, 7);
	struct uuid machine;
	struct point p;

	(void)state;
	m.reads_left = 1;
	m.meanwhile = give_all_up;
	log_set_sink(hush);
	assert_int_equal(back_up(&m, false, &p), -ENOTUNIQ);
	log_set_sink(NULL);
	assert_int_equal(machine_get(repo, "m", &machine), 0);
	assert_int_equal(point_latest(repo, &machine, &p), -ENOENT);
	m.reads_left = -1;
	assert_int_equal(back_up(&m, false, &p), 0);
	assert_same(&p, &m);
	point_fini(&p);
	free(m.bytes);
}

static int first_chunk(void *arg, const struct doc *d)
{
	*(struct doc *)arg = *d;
	return 1;
}

/* Moves a chunk to quarantine, as verify does with a damaged one. */
static void quarantine_one(unsigned scan_flags)
{
	struct doc d;

	assert_int_equal(store_scan(repo->store, COLL_CHUNKS, NULL,
				 SCAN_KEYS | scan_flags, first_chunk, &d),
		1);
	assert_int_equal(
		store_remove(repo->store, COLL_CHUNKS, &d.key, d.version), 0);
	d.coll = COLL_QUARANTINE;
	d.body = "\x05\0\0\0";
	d.len = 5;
	assert_int_equal(store_insert(repo->store, &d), 0);
}

static void quarantine_last(void)
{
	quarantine_one(SCAN_REVERSE);
}

/* Also in a window that is unchanged, also when it happens during a backup. */
static void what_is_quarantined_is_stored_anew(void **state)
{
	struct mem m = mem_new(3 * WINDOW_LEN, 3 * WINDOW_LEN, 8);
	struct point p, q;

	(void)state;
	assert_int_equal(back_up(&m, false, &p), 0);
	quarantine_one(0);
	assert_int_equal(back_up(&m, false, &q), 0);
	assert_int_equal(q.disks.v[0].stats.n_chunks, 1);
	assert_same(&p, &m);
	point_fini(&q);

	m.reads_left = 2;
	m.meanwhile = quarantine_last;
	assert_int_equal(back_up(&m, false, &q), 0);
	assert_same(&p, &m);
	assert_same(&q, &m);
	point_fini(&p);
	point_fini(&q);
	free(m.bytes);
}

/* A collection that began before we did: its condemned chunks are saved. */
static void what_is_condemned_is_saved(void **state)
{
	struct mem m = mem_new(4096, 4096, 9);
	struct digest d = digest_of(m.bytes, 4096);
	struct condemned c = { .digest = d, .version = 1, .coll = COLL_CHUNKS };
	uint8_t buf[CONDEMNED_LEN];
	struct doc condemned = condemned_doc(&c, buf);
	struct doc got;
	struct point p;

	(void)state;
	assert_int_equal(store_insert(repo->store, &condemned), 0);
	assert_int_equal(back_up(&m, false, &p), 0);
	assert_int_equal(
		store_get(repo->store, COLL_CONDEMNED, &condemned.key, &got),
		-ENOENT);
	point_fini(&p);
	free(m.bytes);
}

static void a_writer_registers_and_signs_off(void **state)
{
	struct uuid machine = uuid_random();
	struct store_count c;
	struct writer *w;

	(void)state;
	assert_int_equal(writer_begin(repo, WRITER_POINT, &machine, 0, &w), 0);
	assert_int_equal(store_count(repo->store, COLL_WRITERS, &c), 0);
	assert_int_equal(c.n, 1);
	assert_int_equal(writer_generation(w), 1);
	writer_end(w);
	assert_int_equal(store_count(repo->store, COLL_WRITERS, &c), 0);
	assert_int_equal(c.n, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_size_comes_back),
		TEST(an_unchanged_disk_costs_nothing),
		TEST(sixty_four_tebibytes_of_hole),
		TEST(bad_pages_fail_or_are_lost),
		TEST(a_dry_run_writes_nothing),
		TEST(a_point_is_removed_once),
		TEST(a_writer_given_up_publishes_nothing),
		TEST(what_is_quarantined_is_stored_anew),
		TEST(what_is_condemned_is_saved),
		TEST(a_writer_registers_and_signs_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

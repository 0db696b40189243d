/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards a clone's disks under threads that read, write, sync, look for holes,
 * fold and commit at once: a page is read as one write left it, never older
 * than what its writer was told, and a commit is one instant of both disks.
 * So is what views keep beside a disk, which every fold carries on.
 * For the thread sanitizer as much as for what it asserts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "src/log.h" /* before cmocka.h, which has a macro fail() */

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "repo/chunk.h"
#include "repo/ingest.h"
#include "repo/open_clone.h"
#include "src/blk_file.h"
#include "src/bytes.h"

#define PAGES 1500u /* of a disk: two windows */
#define SIZE (PAGES * PAGE_LEN)
#define DISKS 2
#define WRITERS 2 /* a writer has every second page of both disks */
#define READERS 2
#define COMMITS 6

static char dir[64], image[96];
static struct repo *repo;
static struct cache *cache;
static struct open_clone *clone_open;
static _Atomic bool done;

/* What a page was last written with, and what is being written: its writer
 * counts up. */
static _Atomic uint64_t begun[DISKS][PAGES], ended[DISKS][PAGES];

/* The same of what the writer keeps beside the disk, in its own space. */
#define SIDE_OFF 4093u
static _Atomic uint64_t side_begun[DISKS][WRITERS], side_ended[DISKS][WRITERS];

struct thread {
	pthread_t id;
	unsigned number;
	uint64_t seed;
};

static uint64_t rnd(struct thread *t, uint64_t below)
{
	t->seed = t->seed * 6364136223846793005u + 1442695040888963407u;
	return (t->seed >> 33) % below;
}

/* cmocka's asserts belong to its own thread. */
static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

/* No two stamps make the same page; 0 makes zeroes. */
static void fill(uint64_t stamp, uint8_t *page)
{
	for (uint32_t at = 0; at < PAGE_LEN; at += 8)
		put_le64(page + at, stamp);
}

static uint64_t stamp_of(const uint8_t *page)
{
	uint64_t stamp = get_le64(page);

	for (uint32_t at = 8; at < PAGE_LEN; at += 8)
		must(get_le64(page + at) == stamp, "a page of two writes");
	return stamp;
}

static void write_side(struct thread *t, unsigned disk, uint64_t stamp)
{
	struct wrecord record = {
		.space = (uint8_t)(t->number + 1), .off = SIDE_OFF, .len = 8
	};
	uint8_t b[8];

	put_le64(b, stamp);
	atomic_store(&side_begun[disk][t->number], stamp);
	must(live_write_side(open_clone_disk(clone_open, disk), &record, b) ==
			0,
		"write beside the disk");
	atomic_store(&side_ended[disk][t->number], stamp);
}

static void read_side(struct thread *t, struct live *l, unsigned disk)
{
	unsigned writer = (unsigned)rnd(t, WRITERS);
	uint64_t least = atomic_load(&side_ended[disk][writer]), stamp;
	uint8_t b[8] = { 0 };

	side_read(live_side(l), (uint8_t)(writer + 1), SIDE_OFF, sizeof(b), b);
	stamp = get_le64(b);
	must(stamp >= least, "beside the disk: older than acknowledged");
	must(stamp <= atomic_load(&side_begun[disk][writer]),
		"beside the disk: newer than what was written");
}

static void *write_pages(void *arg)
{
	struct thread *t = arg;
	uint8_t buf[PAGE_LEN];

	for (uint64_t stamp = 1; !done; stamp++) {
		unsigned disk = (unsigned)rnd(t, DISKS);
		uint64_t page = rnd(t, PAGES / WRITERS) * WRITERS + t->number;
		struct live *l = open_clone_disk(clone_open, disk);
		int err;

		must(open_clone_admit(clone_open) == 0, "admit");
		atomic_store(&begun[disk][page], stamp);
		fill(stamp, buf);
		err = live_write(l, page * PAGE_LEN, PAGE_LEN, buf);
		must(err == 0, "write");
		atomic_store(&ended[disk][page], stamp);
		if (rnd(t, 8) == 0)
			write_side(t, disk, stamp);
		if (rnd(t, 50) == 0)
			must(live_sync(l) == 0, "sync");
	}
	return NULL;
}

static void read_some(struct thread *t, struct live *l, unsigned disk)
{
	uint64_t page = rnd(t, PAGES);
	uint64_t n = 1 + rnd(t, MIN_OF(PAGES - page, UINT64_C(20)));
	uint64_t least[20];
	uint8_t *buf = malloc(n * PAGE_LEN);
	struct pieces pieces;
	int err;

	must(buf, "memory");
	for (uint64_t i = 0; i < n; i++)
		least[i] = atomic_load(&ended[disk][page + i]);
	err = live_read(l, page * PAGE_LEN, (uint32_t)(n * PAGE_LEN), &pieces);
	must(err == 0, "read");
	pieces_copy(&pieces, buf);
	pieces_fini(&pieces);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t stamp = stamp_of(buf + i * PAGE_LEN);

		must(stamp >= least[i], "older than what was acknowledged");
		must(stamp <= atomic_load(&begun[disk][page + i]),
			"newer than what was written");
	}
	free(buf);
}

static void *read_pages(void *arg)
{
	struct thread *t = arg;

	while (!done) {
		unsigned disk = (unsigned)rnd(t, DISKS);
		struct live *l = open_clone_disk(clone_open, disk);
		uint64_t page = rnd(t, PAGES);
		bool written = atomic_load(&ended[disk][page]) > 0;
		struct blk_extent e;

		read_some(t, l, disk);
		read_side(t, l, disk);
		must(live_extent(l, page * PAGE_LEN, SIZE, &e) == 0, "extent");
		must(!written || e.kind == BLK_DATA, "a hole over data");
		must(live_data(l) <= SIZE, "more data than there is disk");
	}
	return NULL;
}

static int open_source(struct blk **ret)
{
	int fd = open(image, O_RDWR | O_CREAT | O_TRUNC, 0600);

	/* a file of its own, which nobody needs by its name */
	unlink(image);
	if (fd < 0 || ftruncate(fd, SIZE) != 0)
		return -1;
	return blk_file_new(fd, image, false, ret);
}

static int set_up(void **state)
{
	struct stream_owner me = { .host = "here", .pid = 1, .place = "test" };
	struct ingest_disk disks[DISKS] = { { .name = "disk0" },
		{ .name = "disk1" } };
	struct ingest job = { .machine = "m",
		.disks = disks,
		.n_disks = DISKS,
		.n_threads = 2,
		.consistency = CONSISTENCY_CRASH };
	struct uuid uuid;
	struct point p;
	struct clone c;

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test-live-threads.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(image, sizeof(image), "%s.img", dir);
	if (repo_init(dir, 1, &uuid) < 0 || repo_open(dir, 0, &repo) < 0 ||
		cache_new(repo, 32 << 20, &cache) < 0)
		return -1;
	job.repo = repo;
	for (unsigned i = 0; i < DISKS; i++)
		if (open_source(&disks[i].source) < 0)
			return -1;
	if (ingest(&job, &p) < 0 || clone_fork(repo, &p, "work", &c) < 0 ||
		open_clone_take(cache, &c.id, &me, &clone_open) < 0)
		return -1;
	for (unsigned i = 0; i < DISKS; i++)
		blk_close(disks[i].source);
	point_fini(&p);
	clone_fini(&c);
	return 0;
}

static int tear_down(void **state)
{
	char command[256];

	(void)state;
	open_clone_close(clone_open);
	cache_free(cache);
	repo_close(repo);
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

static uint64_t got[DISKS][PAGES];

static void read_point(const struct point *p, unsigned disk)
{
	uint8_t *buf = malloc(SIZE);
	struct pieces pieces;
	struct disk *d;

	assert_non_null(buf);
	assert_int_equal(
		disk_open(cache, "m", &p->disks.v[disk].root, SIZE, 512, &d),
		0);
	assert_int_equal(disk_read(d, 0, SIZE, &pieces), 0);
	pieces_copy(&pieces, buf);
	pieces_fini(&pieces);
	disk_close(d);
	for (unsigned k = 0; k < PAGES; k++)
		got[disk][k] = stamp_of(buf + (size_t)k * PAGE_LEN);
	free(buf);
}

/*
 * Of each writer's pages: all that it had been told of before the commit began
 * is there, and what is there is all that it wrote up to one stamp.
 */
static void check_commit(const struct point *p, const uint64_t *least)
{
	uint64_t newest[WRITERS] = { 0 };

	for (unsigned i = 0; i < DISKS; i++)
		read_point(p, i);
	for (unsigned i = 0; i < DISKS; i++)
		for (unsigned k = 0; k < PAGES; k++)
			newest[k % WRITERS] =
				MAX_OF(newest[k % WRITERS], got[i][k]);
	for (unsigned i = 0; i < DISKS; i++)
		for (unsigned k = 0; k < PAGES; k++) {
			assert_true(got[i][k] >= least[i * PAGES + k]);
			/* what came after the cut is newer than all in it */
			if (atomic_load(&ended[i][k]) != got[i][k])
				assert_true(atomic_load(&begun[i][k]) >
					    newest[k % WRITERS]);
		}
}

static void beside_each_other(void **state)
{
	static uint64_t least[DISKS * PAGES];
	struct thread threads[WRITERS + READERS];

	(void)state;
	for (unsigned i = 0; i < WRITERS + READERS; i++) {
		threads[i].number = i;
		threads[i].seed = i + 1;
		assert_int_equal(pthread_create(&threads[i].id, NULL,
					 i < WRITERS ? write_pages : read_pages,
					 &threads[i]),
			0);
	}
	for (unsigned n = 0; n < COMMITS; n++) {
		struct point p;

		usleep(100000);
		for (unsigned i = 0; i < DISKS * PAGES; i++)
			least[i] = atomic_load(&ended[i / PAGES][i % PAGES]);
		assert_int_equal(open_clone_commit(clone_open, &p), 0);
		check_commit(&p, least);
		point_fini(&p);
	}
	done = true;
	for (unsigned i = 0; i < WRITERS + READERS; i++)
		pthread_join(threads[i].id, NULL);
	for (unsigned i = 0; i < DISKS; i++)
		for (unsigned k = 0; k < 500; k++) {
			struct live *l = open_clone_disk(clone_open, i);

			read_some(&threads[0], l, i);
			read_side(&threads[0], l, i);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			beside_each_other, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

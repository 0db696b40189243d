/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards verify (I9): what it calls good is, and damage in every class of
 * stored bytes is found and said as the bytes of the disks that it hits,
 * exactly those.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/repo-fixture.h"

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "repo/disk.h"
#include "repo/label.h"
#include "repo/verify.h"

#define GIB (UINT64_C(1) << 30)

/*
 * Point 0: disk0 = [ A B at window 0 | shared leaf C D at 1, 2 ] of 3 windows;
 *          disk1 = shared leaf at windows 5 and 300, 2 GiB
 * Point 1: disk0 as disk0 of point 0, but window 0 is [ A zeroes E ]
 * X is a chunk that nothing names.
 */
enum { A, B, C, D, E, X, N_CHUNKS };
#define CHUNK_LEN(i) (16384u + 4096u * (i))

static char dir[64];
static struct repo *repo;
static struct digest chunks[N_CHUNKS], shared, own, node, root1;
static struct point_id points[2];

static struct digest leaf_of(const int *which, size_t n)
{
	struct leaf *l = calloc(1, sizeof(*l));
	struct digest d;

	MUST(l);
	for (size_t i = 0; i < n; i++)
		if (which[i] < 0)
			leaf_add(l, 8192, BLK_ZERO, NULL);
		else
			leaf_add(l, CHUNK_LEN((unsigned)which[i]), BLK_DATA,
				&chunks[which[i]]);
	d = fixture_leaf(repo, l);
	free(l);
	return d;
}

static int set_up(void **state)
{
	uint8_t data[CHUNK_LEN(N_CHUNKS)];
	struct digest disk0, roots[2];

	(void)state;
	log_set_sink(fixture_sink);
	repo = fixture_repo(dir);
	for (unsigned i = 0; i < N_CHUNKS; i++) {
		fixture_fill(data, CHUNK_LEN(i), i + 1);
		chunks[i] = fixture_chunk(repo, data, CHUNK_LEN(i));
	}
	own = leaf_of((int[]){ A, B }, 2);
	shared = leaf_of((int[]){ C, -1, D }, 3);
	disk0 = fixture_tree(repo,
		(struct fixture_slot[]){
			{ 0, own }, { 1, shared }, { 2, shared } },
		3, 3 * WINDOW);
	node = fixture_tree(
		repo, (struct fixture_slot[]){ { 5, shared } }, 1, GIB);
	root1 = fixture_tree(repo,
		(struct fixture_slot[]){ { 5, shared }, { 300, shared } }, 2,
		2 * GIB);
	roots[0] = disk0;
	roots[1] = root1;
	points[0] = fixture_point(repo, "web", 1000, NULL, roots,
		(uint64_t[]){ 3 * WINDOW - 512, 2 * GIB }, 2);
	roots[0] = fixture_tree(repo,
		(struct fixture_slot[]){ { 0, leaf_of((int[]){ A, -1, E }, 3) },
			{ 1, shared }, { 2, shared } },
		3, 3 * WINDOW);
	points[1] = fixture_point(
		repo, "web", 2000, NULL, roots, (uint64_t[]){ 3 * WINDOW }, 1);
	MUST(store_sync(repo->store) == 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	repo_close(repo);
	fixture_remove(dir);
	return 0;
}

struct hit {
	unsigned point;
	const char *disk;
	uint64_t off, len;
};

struct seen {
	struct vec(struct hit) hits;
	const char *what, *why; /* of the last */
};

static void on_damage(void *arg, const struct verify_damage *d)
{
	struct seen *s = arg;
	bool second = d->point->id.time == points[1].time;
	struct hit hit = { second, strdup(d->disk), d->off, d->len };

	MUST(vec_add(&s->hits, hit) == 0);
	s->what = d->what;
	s->why = d->why;
}

static struct verify_result run(
	struct repo *r, bool metadata_only, struct seen *seen)
{
	struct verify_progress progress = { 0 };
	struct verify job = { .repo = r,
		.metadata_only = metadata_only,
		.n_threads = 3,
		.progress = &progress,
		.damage = on_damage,
		.arg = seen };
	struct verify_result result;

	assert_int_equal(verify(&job, &result), 0);
	if (!metadata_only)
		assert_int_equal(progress.done, result.bytes);
	assert_int_equal(result.n_ranges, seen->hits.n);
	return result;
}

static void seen_fini(struct seen *s)
{
	for (size_t i = 0; i < s->hits.n; i++)
		free((void *)(uintptr_t)s->hits.v[i].disk);
	vec_fini(&s->hits);
}

/* Exactly these, in this order. */
static void expect(struct seen *s, const char *what, const char *why,
	const struct hit *want, size_t n)
{
	assert_int_equal(s->hits.n, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(s->hits.v[i].point, want[i].point);
		assert_string_equal(s->hits.v[i].disk, want[i].disk);
		assert_int_equal(s->hits.v[i].off, want[i].off);
		assert_int_equal(s->hits.v[i].len, want[i].len);
	}
	if (n) {
		assert_string_equal(s->what, what);
		assert_string_equal(s->why, why);
	}
	seen_fini(s);
}

static void all_is_well(void **state)
{
	struct seen seen = { 0 };
	struct verify_result r = run(repo, false, &seen);

	(void)state;
	assert_int_equal(r.n_points, 2);
	assert_int_equal(r.n_disks, 3);
	/* three leaves; a node for each disk0; two nodes and a root */
	assert_int_equal(r.n_maps, 3 + 2 + 3);
	assert_int_equal(r.n_chunks, N_CHUNKS);
	assert_true(r.bytes > N_CHUNKS * 8192);
	assert_int_equal(r.n_damaged, 0);
	expect(&seen, NULL, NULL, NULL, 0);
	r = run(repo, true, &seen);
	assert_int_equal(r.n_maps, 8);
	assert_int_equal(r.n_damaged, 0);
	assert_int_equal(r.bytes, 0);
	expect(&seen, NULL, NULL, NULL, 0);
}

/* Flips a bit DISTANCE bytes from the beginning of a document's stored body. */
static bool flip_in(
	const char *path, const void *body, size_t len, long distance)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	uint8_t *data, *at;

	MUST(fd >= 0 && fstat(fd, &st) == 0);
	data = malloc((size_t)st.st_size + 1);
	MUST(data && pread(fd, data, (size_t)st.st_size, 0) == st.st_size);
	at = memmem(data, (size_t)st.st_size, body, len);
	if (at) {
		uint8_t byte = at[distance] ^ 0x10;

		MUST(pwrite(fd, &byte, 1, at - data + distance) == 1);
	}
	free(data);
	close(fd);
	return at != NULL;
}

static void flip(enum coll coll, const struct key *key, long distance)
{
	char segments[128];
	char path[512];
	bool done = false;
	struct dirent *e;
	struct doc d;
	DIR *files;

	MUST(store_get(repo->store, coll, key, &d) == 0);
	/* a handle that is open may have the bytes at hand */
	repo_close(repo);
	snprintf(segments, sizeof(segments), "%s/segments", dir);
	files = opendir(segments);
	MUST(files);
	while ((e = readdir(files)))
		if (strstr(e->d_name, ".seg")) {
			snprintf(path, sizeof(path), "%s/%s", segments,
				e->d_name);
			done |= flip_in(path, d.body, d.len, distance);
		}
	closedir(files);
	MUST(done);
	doc_fini(&d);
	MUST(repo_open(dir, 0, &repo) == 0);
}

static struct key key_of_digest(const struct digest *d)
{
	return key_of(d->b, sizeof(d->b));
}

/* Bodies from end to end, record headers, keys. */
static const long places[] = { 0, 20, 500, -1, -20, -40, -60, -88 };

static void damaged_chunks_are_said_as_ranges(void **state)
{
	static const struct hit hits[] = {
		{ 0, "disk0", WINDOW, CHUNK_LEN(C) },
		{ 0, "disk0", 2 * WINDOW, CHUNK_LEN(C) },
		{ 0, "disk1", 5 * WINDOW, CHUNK_LEN(C) },
		{ 0, "disk1", 300 * WINDOW, CHUNK_LEN(C) },
		{ 1, "disk0", WINDOW, CHUNK_LEN(C) },
		{ 1, "disk0", 2 * WINDOW, CHUNK_LEN(C) },
	};
	struct key key = key_of_digest(&chunks[C]);
	struct seen seen = { 0 };
	struct verify_result r;

	(void)state;
	for (size_t i = 0; i < N_ELEMS(places); i++) {
		flip(COLL_CHUNKS, &key, places[i]);
		r = run(repo, true, &seen);
		assert_int_equal(r.n_damaged, 0);
		expect(&seen, NULL, NULL, NULL, 0);
		r = run(repo, false, &seen);
		assert_int_equal(r.n_damaged, 1);
		expect(&seen, "chunk", "damaged", hits, N_ELEMS(hits));
		tear_down(NULL);
		set_up(NULL);
		key = key_of_digest(&chunks[C]);
	}
}

static void damaged_maps_are_said_as_ranges(void **state)
{
	static const struct hit leaf[] = {
		{ 0, "disk0", WINDOW, WINDOW },
		{ 0, "disk0", 2 * WINDOW, WINDOW - 512 },
		{ 0, "disk1", 5 * WINDOW, WINDOW },
		{ 0, "disk1", 300 * WINDOW, WINDOW },
		{ 1, "disk0", WINDOW, WINDOW },
		{ 1, "disk0", 2 * WINDOW, WINDOW },
	};
	static const struct hit nodes[] = { { 0, "disk1", 0, GIB } };
	static const struct hit roots[] = { { 0, "disk1", 0, 2 * GIB } };
	const struct {
		const struct digest *map;
		const struct hit *hits;
		size_t n;
	} cases[] = { { &shared, leaf, N_ELEMS(leaf) }, { &node, nodes, 1 },
		{ &root1, roots, 1 } };
	struct seen seen = { 0 };
	struct verify_result r;

	(void)state;
	for (size_t i = 0; i < N_ELEMS(cases); i++)
		for (unsigned metadata = 0; metadata < 2; metadata++) {
			struct key key = key_of_digest(cases[i].map);

			flip(COLL_MAPS, &key, 30);
			r = run(repo, metadata, &seen);
			assert_int_equal(r.n_damaged, 1);
			expect(&seen, "map", "damaged", cases[i].hits,
				cases[i].n);
			tear_down(NULL);
			set_up(NULL);
		}
}

static void remove_doc(enum coll coll, const struct digest *digest)
{
	struct key key = key_of_digest(digest);
	struct doc d;

	MUST(store_get(repo->store, coll, &key, &d) == 0);
	MUST(store_remove(repo->store, coll, &key, d.version) == 0);
	doc_fini(&d);
}

static void what_is_missing_is_said_as_ranges(void **state)
{
	struct seen seen = { 0 };
	struct verify_result r;

	(void)state;
	remove_doc(COLL_CHUNKS, &chunks[B]);
	for (unsigned metadata = 0; metadata < 2; metadata++) {
		r = run(repo, metadata, &seen);
		assert_int_equal(r.n_damaged, 1);
		expect(&seen, "chunk", "missing",
			(struct hit[]){
				{ 0, "disk0", CHUNK_LEN(A), CHUNK_LEN(B) } },
			1);
	}
	/* what only a removed point reaches is no damage */
	assert_int_equal(point_remove(repo, &points[0]), 0);
	r = run(repo, false, &seen);
	assert_int_equal(r.n_damaged, 0);
	assert_int_equal(r.n_points, 1);
	expect(&seen, NULL, NULL, NULL, 0);
	/* a map, and in it a chunk: one document that hides another */
	remove_doc(COLL_MAPS, &shared);
	remove_doc(COLL_CHUNKS, &chunks[D]);
	r = run(repo, false, &seen);
	assert_int_equal(r.n_damaged, 1);
	expect(&seen, "map", "missing",
		(struct hit[]){ { 1, "disk0", WINDOW, WINDOW },
			{ 1, "disk0", 2 * WINDOW, WINDOW } },
		2);
	/* and nothing can be removed any more that is needed less */
	remove_doc(COLL_CHUNKS, &chunks[E]);
	r = run(repo, false, &seen);
	assert_int_equal(r.n_damaged, 2);
	assert_int_equal(seen.hits.n, 3);
	assert_int_equal(seen.hits.v[0].off, CHUNK_LEN(A) + 8192);
	assert_int_equal(seen.hits.v[0].len, CHUNK_LEN(E));
	seen_fini(&seen);
}

static void what_nobody_uses_counts_without_a_range(void **state)
{
	struct key key = key_of_digest(&chunks[X]);
	struct seen seen = { 0 };
	struct verify_result r;

	(void)state;
	flip(COLL_CHUNKS, &key, 1000);
	r = run(repo, false, &seen);
	assert_int_equal(r.n_damaged, 1);
	expect(&seen, NULL, NULL, NULL, 0);
}

static void a_damaged_point_hides_no_other(void **state)
{
	struct key key = point_key(&points[0]);
	struct seen seen = { 0 };
	struct verify_result r;

	(void)state;
	flip(COLL_POINTS, &key, 20);
	remove_doc(COLL_CHUNKS, &chunks[E]);
	r = run(repo, false, &seen);
	assert_int_equal(r.n_points, 1);
	assert_int_equal(r.n_damaged, 2);
	expect(&seen, "chunk", "missing",
		(struct hit[]){
			{ 1, "disk0", CHUNK_LEN(A) + 8192, CHUNK_LEN(E) } },
		1);
}

static int hold(void *arg, struct label *l)
{
	(void)arg;
	l->hold_until = 1;
	return 0;
}

static void a_damaged_label_counts_once(void **state)
{
	struct key key = point_key(&points[1]);
	struct seen seen = { 0 };
	struct verify_result r;

	(void)state;
	assert_int_equal(label_update(repo, &points[1], hold, NULL), 0);
	flip(COLL_LABELS, &key, 8);
	r = run(repo, false, &seen);
	assert_int_equal(r.n_points, 1);
	assert_int_equal(r.n_damaged, 1);
	expect(&seen, NULL, NULL, NULL, 0);
}

/* A leaf where a node belongs; the same leaf is good elsewhere. */
static void a_map_of_another_level_is_damage(void **state)
{
	struct seen seen = { 0 };
	struct verify_result r;

	(void)state;
	points[1] = fixture_point(repo, "web", 3000, NULL, &shared,
		(uint64_t[]){ 2 * WINDOW }, 1);
	r = run(repo, false, &seen);
	assert_int_equal(r.n_damaged, 1);
	expect(&seen, "map", "damaged",
		(struct hit[]){ { 1, "disk0", 0, 2 * WINDOW } }, 1);
}

/* An index that lost a key of a point makes a listing like any other. */
static void a_listing_must_agree_with_the_count(void **state)
{
	struct seen seen = { 0 };
	struct verify_result r;
	struct spy spy;
	struct repo front = spy_init(&spy, repo);

	(void)state;
	spy.unlisted = point_key(&points[0]);
	r = run(&front, false, &seen);
	assert_int_equal(r.n_points, 1);
	assert_int_equal(r.n_damaged, 1);
	assert_non_null(strstr(fixture_said, "repair --index"));
	expect(&seen, NULL, NULL, NULL, 0);
}

static void remove_point(struct spy *spy)
{
	spy->on_exists = NULL;
	MUST(point_remove(repo, &points[0]) == 0);
	remove_doc(COLL_CHUNKS, &chunks[B]);
	remove_doc(COLL_MAPS, &own);
	remove_doc(COLL_MAPS, &root1);
}

/* rm and a collection while it runs: what goes is not missing. */
static void what_is_removed_meanwhile_is_no_damage(void **state)
{
	struct seen seen = { 0 };
	struct verify_result r;
	struct spy spy;
	struct repo front = spy_init(&spy, repo);

	(void)state;
	spy.on_exists = remove_point;
	r = run(&front, false, &seen);
	assert_int_equal(r.n_points, 2);
	assert_int_equal(r.n_damaged, 0);
	expect(&seen, NULL, NULL, NULL, 0);
}

struct busy {
	_Atomic bool stop;
	_Atomic unsigned n;
};

/* Publishes points and removes them again, one after the other. */
static void *publish(void *arg)
{
	struct busy *b = arg;
	uint8_t *data = malloc(WINDOW_LEN);

	MUST(data);
	while (!b->stop) {
		struct point_id id;
		struct digest root;
		uint64_t size = WINDOW;

		fixture_fill(data, 1 << 20, 1000 + b->n);
		memset(data + (1 << 20), 0, WINDOW_LEN - (1 << 20));
		root = fixture_disk(repo, data, size);
		id = fixture_point(
			repo, "busy", 5000 + b->n, NULL, &root, &size, 1);
		if (b->n++ % 2)
			MUST(point_remove(repo, &id) == 0);
	}
	free(data);
	return NULL;
}

/* Backups and removals beside it are no damage, nor are its counts off. */
static void others_may_write_meanwhile(void **state)
{
	struct busy busy = { 0 };
	pthread_t thread;

	(void)state;
	MUST(pthread_create(&thread, NULL, publish, &busy) == 0);
	for (unsigned i = 0; i < 20 || busy.n < 4; i++) {
		struct seen seen = { 0 };
		struct verify_result r = run(repo, i % 2, &seen);

		assert_int_equal(r.n_damaged, 0);
		expect(&seen, NULL, NULL, NULL, 0);
	}
	busy.stop = true;
	pthread_join(thread, NULL);
}

static void it_can_be_cancelled(void **state)
{
	const _Atomic bool cancel = true;
	struct verify job = { .repo = repo, .cancel = &cancel };
	struct verify_result result;

	(void)state;
	assert_int_equal(verify(&job, &result), -ECANCELED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(all_is_well),
		TEST(damaged_chunks_are_said_as_ranges),
		TEST(damaged_maps_are_said_as_ranges),
		TEST(what_is_missing_is_said_as_ranges),
		TEST(what_nobody_uses_counts_without_a_range),
		TEST(a_damaged_point_hides_no_other),
		TEST(a_damaged_label_counts_once),
		TEST(a_map_of_another_level_is_damage),
		TEST(a_listing_must_agree_with_the_count),
		TEST(what_is_removed_meanwhile_is_no_damage),
		TEST(others_may_write_meanwhile),
		TEST(it_can_be_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards the fence of copies, whose points have keys that are not their
 * writers': one that was given up publishes nothing, the next one takes the
 * place, and a collection that saw the place fenced keeps what a point needs
 * that has come to be there since.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/repo-fixture.h"

#include <cmocka.h>

#include "repo/copy.h"
#include "repo/gc.h"
#include "repo/label.h"
#include "repo/writers.h"

static char dir[2][64];
static struct repo *from, *to;
static struct point_id id;
static struct digest root;
static uint8_t data[WINDOW_LEN];

/* What is copied lies about in TO already, and nothing reaches it. */
static int set_up(void **state)
{
	struct uuid uuid;

	(void)state;
	log_set_sink(fixture_sink);
	to = fixture_repo(dir[0]);
	/* the other one is in a directory whatever tests run on */
	fixture_dir(dir[1]);
	assert_int_equal(repo_init(dir[1], 1, &uuid), 0);
	assert_int_equal(repo_open(dir[1], 0, &from), 0);
	fixture_fill(data, sizeof(data), 1);
	root = fixture_disk(from, data, sizeof(data));
	id = fixture_point(
		from, "web", 1000, NULL, &root, (uint64_t[]){ WINDOW_LEN }, 1);
	root = fixture_disk(to, data, sizeof(data));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	repo_close(from);
	repo_close(to);
	fixture_remove(dir[0]);
	fixture_remove(dir[1]);
	return 0;
}

static void ignore(void *arg, const struct point *p, enum copy_outcome outcome,
	const struct carry_stats *stats)
{
	(void)arg;
	(void)p;
	(void)outcome;
	(void)stats;
}

static struct copy_result copy(void)
{
	const struct copy job = { .from = from, .to = to, .visit = ignore };
	struct copy_ids ids = { 0 };
	struct copy_result res;

	assert_int_equal(vec_add(&ids, id), 0);
	assert_int_equal(copy_points(&job, &ids, &res), 0);
	vec_fini(&ids);
	return res;
}

static enum point_state state_of_place(uint64_t *ret_version)
{
	struct point_place place;

	assert_int_equal(point_place(to, &id, &place), 0);
	*ret_version = place.version;
	return place.state;
}

static void give_up(void)
{
	struct writers w = { 0 };

	assert_int_equal(writers_list(to, &w), 0);
	assert_int_equal(w.n, 1);
	assert_int_equal(w.v[0].kind, WRITER_COPY);
	assert_int_equal(writer_give_up(to, &w.v[0]), 0);
	writers_fini(&w);
}

/* Registers, is given up, and tries to publish all the same. */
static void lose(void)
{
	struct key key = point_key(&id);
	struct point_place place;
	struct writer *w;
	struct doc doc;

	assert_int_equal(point_place(to, &id, &place), 0);
	assert_int_equal(writer_begin_copy(to, &id, place.version, &w), 0);
	give_up();
	assert_int_equal(store_get(from->store, COLL_POINTS, &key, &doc), 0);
	doc.key = key;
	assert_int_equal(point_copy(to, &doc, &place), -EEXIST);
	doc_fini(&doc);
	writer_end(w);
}

static void given_up_publishes_nothing(void **state)
{
	struct copy_result res;
	struct point p;
	uint64_t v;

	(void)state;
	for (unsigned i = 1; i <= 3; i++) {
		lose();
		assert_int_equal(state_of_place(&v), POINT_FENCED);
		assert_int_equal(v, i);
		assert_int_equal(point_get(to, &id, &p), -ENOENT);
	}
	res = copy();
	assert_int_equal(res.n[COPY_DONE], 1);
	/* all of it was there */
	assert_int_equal(res.sent.n_chunks + res.sent.n_maps, 0);
	assert_int_equal(state_of_place(&v), POINT_WHOLE);
	assert_int_equal(point_get(to, &id, &p), 0);
	point_fini(&p);
	res = copy();
	assert_int_equal(res.n[COPY_THERE], 1);
	assert_int_equal(point_remove(to, &id), 0);
	assert_int_equal(point_bury(to, &id), 0);
	assert_int_equal(state_of_place(&v), POINT_TOMBSTONE);
	res = copy();
	assert_int_equal(res.n[COPY_REMOVED], 1);
}

static bool is_there(void)
{
	struct key key = key_of(root.b, sizeof(root.b));
	bool there;

	assert_int_equal(
		store_exists_many(to->store, COLL_MAPS, &key, 1, &there), 0);
	return there;
}

/* Points have been listed, and nothing is condemned yet. */
static void copy_meanwhile(void *arg, const char *phase)
{
	bool *done = arg;
	struct copy_result res;

	if (strcmp(phase, "marking") != 0 || *done)
		return;
	*done = true;
	res = copy();
	assert_int_equal(res.n[COPY_DONE], 1);
}

static void a_fenced_place_is_not_listed(void **state)
{
	bool done = false;
	const struct gc job = { .repo = to,
		.patience = 60,
		.phase = copy_meanwhile,
		.arg = &done };
	struct gc_result res;

	(void)state;
	lose();
	assert_int_equal(gc(&job, &res), 0);
	assert_true(done);
	assert_true(is_there());
	assert_int_equal(gc(&job, &res), 0);
	assert_true(is_there());
}

static void garbage_goes(void **state)
{
	const struct gc job = { .repo = to, .patience = 60 };
	struct gc_result res;
	struct copy_result copied;

	(void)state;
	lose();
	assert_int_equal(gc(&job, &res), 0);
	assert_false(is_there());
	copied = copy();
	assert_int_equal(copied.n[COPY_DONE], 1);
	assert_true(copied.sent.n_chunks > 0 && copied.sent.n_maps > 0);
	assert_true(is_there());
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(given_up_publishes_nothing),
		TEST(a_fenced_place_is_not_listed),
		TEST(garbage_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards what a collection makes of clones that change while it runs: a fold
 * writes the list of what its clone has let go of as it had read it, and so may
 * put back what a collection has swept and taken off. That is no damage. What a
 * clone needs and is missing is, and nothing is removed then.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/repo-fixture.h"

#include <cmocka.h>

#include "repo/clone.h"
#include "repo/gc.h"
#include "repo/writers.h"

static char dir[64];
static struct repo *repo;
static struct uuid clone_id;
static struct digest garbage;

static int set_up(void **state)
{
	static uint8_t data[2][WINDOW_LEN];
	struct point_id id;
	struct point p;
	struct clone c;
	struct digest root;

	(void)state;
	log_set_sink(fixture_sink);
	repo = fixture_repo(dir);
	fixture_fill(data[0], WINDOW_LEN, 1);
	fixture_fill(data[1], WINDOW_LEN, 2);
	root = fixture_disk(repo, data[0], WINDOW_LEN);
	garbage = fixture_disk(repo, data[1], WINDOW_LEN);
	id = fixture_point(
		repo, "web", 1000, NULL, &root, (uint64_t[]){ WINDOW_LEN }, 1);
	assert_int_equal(point_get(repo, &id, &p), 0);
	assert_int_equal(clone_fork(repo, &p, "branch", &c), 0);
	clone_id = c.id;
	clone_fini(&c);
	point_fini(&p);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	repo_close(repo);
	fixture_remove(dir);
	return 0;
}

struct change {
	bool root; /* of the disk; else of the list */
	bool made;
};

/* Between the two listings of a collection. */
static void on_phase(void *arg, const char *name)
{
	static uint8_t never[WINDOW_LEN];
	struct change *change = arg;
	struct digest missing = digest_of(never, sizeof(never));
	struct clone c;

	if (change->made || strcmp(name, "waiting") != 0)
		return;
	change->made = true;
	assert_int_equal(clone_get(repo, &clone_id, &c), 0);
	if (change->root)
		c.disks.v[0].root = missing;
	else
		assert_int_equal(vec_add(&c.retired,
					 (struct retired_root){ .root = missing,
						 .size = WINDOW_LEN }),
			0);
	assert_int_equal(clone_swap(repo, &c), 0);
	clone_fini(&c);
}

static int collect(struct change *change, struct gc_result *res)
{
	const struct gc job = { .repo = repo,
		.n_threads = 2,
		.patience = 1,
		.phase = on_phase,
		.arg = change };

	return gc(&job, res);
}

static bool is_there(const struct digest *map)
{
	struct key key = key_of(map->b, sizeof(map->b));
	bool there;

	assert_int_equal(
		store_exists_many(repo->store, COLL_MAPS, &key, 1, &there), 0);
	return there;
}

static void test_listed_again(void **state)
{
	struct change change = { 0 };
	struct gc_result res = { 0 };
	struct clone c;

	(void)state;
	assert_int_equal(collect(&change, &res), 0);
	assert_true(change.made);
	assert_false(is_there(&garbage));
	/* and the next one takes it off */
	assert_int_equal(collect(&change, &res), 0);
	assert_int_equal(res.n_retired, 1);
	assert_int_equal(clone_get(repo, &clone_id, &c), 0);
	assert_int_equal(c.retired.n, 0);
	clone_fini(&c);
}

static void test_missing(void **state)
{
	struct change change = { .root = true };
	struct gc_result res;

	(void)state;
	assert_int_equal(collect(&change, &res), -EBADMSG);
	assert_true(change.made);
	assert_true(is_there(&garbage));
}

static void put_writer(const struct uuid *id, const char *process)
{
	bson_t b = BSON_INITIALIZER;
	struct doc d;

	BSON_APPEND_INT32(&b, "kind", WRITER_CLONE);
	BSON_APPEND_BINARY(&b, "target", BSON_SUBTYPE_BINARY, clone_id.b,
		sizeof(clone_id.b));
	BSON_APPEND_INT64(&b, "version", 1);
	if (process)
		BSON_APPEND_UTF8(&b, "process", process);
	d = (struct doc){ .coll = COLL_WRITERS,
		.key = key_of(id->b, sizeof(id->b)),
		.version = 1,
		.generation = 1,
		.body = bson_get_data(&b),
		.len = b.len };
	assert_int_equal(store_insert(repo->store, &d), 0);
	bson_destroy(&b);
}

/* Those of older programs do not say whose they are. */
static void test_whose(void **state)
{
	struct uuid old = { .b = { 1 } }, new = { .b = { 2 } },
		    bad = { .b = { 3 } };
	char text[PROCESS_TEXT + 1];
	struct writers w;

	(void)state;
	put_writer(&old, NULL);
	process_text(text);
	put_writer(&new, text);
	assert_int_equal(writers_list(repo, &w), 0);
	assert_int_equal(w.n, 2);
	assert_string_equal(w.v[0].process, "");
	assert_string_equal(w.v[0].host, "");
	assert_string_equal(w.v[1].process, text);
	writers_fini(&w);
	memset(text, 'x', PROCESS_TEXT);
	text[PROCESS_TEXT] = 0;
	put_writer(&bad, text);
	assert_int_equal(writers_list(repo, &w), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_listed_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_missing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_whose, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards addresses: what names a point finds that one and no other, and what
 * names none is refused with what there is.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/repo-fixture.h"

#include <cmocka.h>

#include "repo/address.h"
#include "repo/label.h"

#define T0 INT64_C(1795163765) /* 2026-11-20T08:36:05Z */

static char dir[64];
static struct repo *repo;
static struct point_id web[4], db, odd[2];

static struct uuid writer(const char *hex)
{
	struct uuid u = { 0 };

	for (size_t i = 0; hex[2 * i]; i++) {
		char byte[3] = { hex[2 * i], hex[2 * i + 1] };

		u.b[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return u;
}

static struct point_id add(
	const char *machine, int64_t time, const char *hex, size_t n_disks)
{
	struct digest roots[2] = { 0 };
	uint64_t sizes[2] = { 1 << 20, 2 << 20 };
	struct uuid w = writer(hex);

	return fixture_point(repo, machine, time, &w, roots, sizes, n_disks);
}

static int set_up(void **state)
{
	(void)state;
	log_set_sink(fixture_sink);
	repo = fixture_repo(dir);
	web[0] = add("web", T0, "0a00aaaa11112222", 2);
	web[1] = add("web", T0 + 60, "1b00bbbb", 2);
	web[2] = add("web", T0 + 120, "2c00cccc", 1);
	web[3] = add("web", T0 + 180, "beef0001", 1);
	db = add("db", T0 + 120, "beef0002", 1);
	/* two in one second */
	odd[0] = add("odd", T0, "11110000", 1);
	odd[1] = add("odd", T0, "22220000", 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	repo_close(repo);
	fixture_remove(dir);
	return 0;
}

static void finds(const char *text, const struct point_id *id, const char *disk)
{
	struct address a;

	assert_int_equal(address_resolve(repo, text, &a), 0);
	assert_memory_equal(&a.point.id.writer, &id->writer, 16);
	assert_int_equal(a.point.id.time, id->time);
	if (disk)
		assert_string_equal(a.disk->name, disk);
	else
		assert_null(a.disk);
	address_fini(&a);
}

/* Refused with ERR and a message that holds each of the words. */
static void refuses(const char *text, int err, const char *words)
{
	char buf[256];
	char *rest = buf;
	struct address a;

	fixture_said[0] = 0;
	assert_int_equal(address_resolve(repo, text, &a), err);
	assert_non_null(strstr(fixture_said, text));
	snprintf(buf, sizeof(buf), "%s", words);
	for (char *w = strsep(&rest, "|"); w; w = strsep(&rest, "|"))
		if (!strstr(fixture_said, w))
			fail_msg("\"%s\" lacks \"%s\"", fixture_said, w);
}

static void points_by_age(void **state)
{
	(void)state;
	finds("web@latest", &web[3], NULL);
	finds("web@latest~0", &web[3], NULL);
	finds("web@latest~2", &web[1], NULL);
	finds("web@latest~3", &web[0], NULL);
	finds("db@latest", &db, NULL);
	refuses("web@latest~4", -ENOENT, "only 4 points|2026-11-20T08:36:05Z");
	refuses("web@latest~999999999", -ENOENT, "only 4");
}

static void points_by_time(void **state)
{
	(void)state;
	finds("web@2026-11-20T08:36:05Z", &web[0], NULL);
	finds("web@2026-11-20T083705Z", &web[1], NULL);
	finds("web@2026-11-20T083705Z-1b00bbbb", &web[1], NULL);
	finds("web@2026-11-20T08:37:05Z-1B", &web[1], NULL);
	refuses("web@2026-11-20T08:37:05Z-1c", -ENOENT, "no such point");
	refuses("web@2026-11-20T08:37:06Z", -ENOENT,
		"newest is of 2026-11-20T08:39:05Z|oldest of "
		"2026-11-20T08:36:05Z");
}

static void points_by_alias(void **state)
{
	(void)state;
	finds("web@0a00", &web[0], NULL);
	finds("web@0A00AAAA", &web[0], NULL);
	finds("0a00aaaa1111", &web[0], NULL);
	finds("web@beef", &web[3], NULL);
	finds("beef0002", &db, NULL);
	refuses("beef", -EINVAL,
		"web@2026-11-20T08:39:05Z-beef0001|"
		"db@2026-11-20T08:38:05Z-beef0002");
	refuses("feed", -ENOENT, "no point has this alias|MACHINE@WHEN");
	refuses("web@feed", -ENOENT, "no such point");
}

static void points_in_one_second(void **state)
{
	struct address a;
	char *text;

	(void)state;
	finds("odd@2026-11-20T08:36:05Z-1111", &odd[0], NULL);
	finds("odd@2026-11-20T08:36:05Z-22220000", &odd[1], NULL);
	refuses("odd@2026-11-20T08:36:05Z", -EINVAL,
		"may be any of|Z-11110000|Z-22220000");
	/* what is said of a point is what finds it */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(
			address_resolve(repo, i ? "22220000" : "11110000", &a),
			0);
		assert_int_equal(address_full(repo, &a.point, &text), 0);
		finds(text, &odd[i], NULL);
		free(text);
		address_fini(&a);
	}
	assert_int_equal(address_resolve(repo, "web@latest", &a), 0);
	assert_int_equal(address_full(repo, &a.point, &text), 0);
	assert_string_equal(text, "web@2026-11-20T08:39:05Z");
	free(text);
	text = address_text(&a.point);
	assert_string_equal(text, "web@2026-11-20T08:39:05Z");
	free(text);
	address_fini(&a);
}

static void disks_by_name(void **state)
{
	(void)state;
	finds("web/disk1@latest~2", &web[1], "disk1");
	finds("web/disk0@0a00", &web[0], "disk0");
	refuses("web/disk1@latest", -ENOENT, "no disk disk1, but disk0");
	refuses("web/nix@latest~2", -ENOENT, "disk0, disk1");
}

static void machines_by_name(void **state)
{
	(void)state;
	refuses("www@latest", -ENOENT, "no machine www|db, odd, web");
	for (unsigned i = 0; i < 10; i++) {
		struct uuid uuid;
		char name[16];

		snprintf(name, sizeof(name), "vm%u", i);
		assert_int_equal(machine_ensure(repo, name, &uuid), 0);
	}
	refuses("www@latest", -ENOENT, "db, odd, vm0, vm1, vm2, vm3, …");
	refuses("vm7@latest", -ENOENT, "no point yet");
	refuses("vm7@beef", -ENOENT, "no point yet");
}

static void what_is_no_address(void **state)
{
	static const char *const bad[] = { "web", "", "@", "@latest", "web@",
		"web@latest~", "web@latest~x", "web@latest~1x", "web@latestx",
		"web@latest~1234567890", "web@latest~-1", "web@abc",
		"web@2026-13-20T08:36:05Z", "web@2026-11-20T08:36:05Z-",
		"web@2026-11-20T08:36:05Z-xyz", "web@2026-11-20T08:36:05Zoo",
		"web/@latest", "/disk0@latest", "web/../x@latest",
		"web/ro@latest", "clones@latest", "latest@latest",
		"web/disk0/x@latest", "a b@latest", "abc",
		"web@00000000000000000000000000000000f", "web@latest@latest" };
	char longest[160];
	struct address a;

	(void)state;
	for (size_t i = 0; i < N_ELEMS(bad); i++) {
		fixture_said[0] = 0;
		assert_int_equal(address_resolve(repo, bad[i], &a), -EINVAL);
		assert_true(fixture_said[0]);
	}
	/* one character more than a name may have */
	memset(longest, 'a', sizeof(longest));
	snprintf(longest + 129, sizeof(longest) - 129, "@latest");
	assert_int_equal(address_resolve(repo, longest, &a), -EINVAL);
	assert_int_equal(address_resolve(repo, longest + 1, &a), -ENOENT);
}

static void removed_points_are_not_found(void **state)
{
	(void)state;
	assert_int_equal(point_remove(repo, &web[3]), 0);
	finds("web@latest", &web[2], NULL);
	refuses("web@beef", -ENOENT, "no such point");
	finds("beef", &db, NULL);
}

/* A point whose document is damaged hides none of the others. */
static void damaged_points_hide_no_others(void **state)
{
	struct key key = point_key(&web[1]);
	struct address a;
	struct doc d;

	(void)state;
	assert_int_equal(store_get(repo->store, COLL_POINTS, &key, &d), 0);
	assert_int_equal(
		store_remove(repo->store, COLL_POINTS, &key, d.version), 0);
	doc_fini(&d);
	d = (struct doc){ .coll = COLL_POINTS,
		.key = key,
		.version = 1,
		.body = "\5\0\0\0",
		.len = 5 };
	assert_int_equal(store_insert(repo->store, &d), 0);
	finds("web@0a00", &web[0], NULL);
	finds("web@latest", &web[2], NULL);
	assert_int_equal(address_resolve(repo, "web@1b00", &a), -EBADMSG);
}

static bool is_first(const struct point_id *id)
{
	bool first;

	assert_int_equal(point_is_first(repo, id, &first), 0);
	return first;
}

/* Whatever the order of their keys: a name in the mount stays what it is. */
static void first_of_a_second(void **state)
{
	struct uuid early = writer("01"), late = writer("ff");
	struct point_id first = add("sec", T0, "55550000", 1);
	struct point p;
	struct point_id ids[2];

	(void)state;
	assert_true(is_first(&first));
	assert_int_equal(point_get(repo, &first, &p), 0);
	for (unsigned i = 0; i < 2; i++) {
		p.id.writer = i ? late : early;
		p.end++;
		assert_int_equal(point_insert(repo, &p), 0);
		ids[i] = p.id;
		assert_true(is_first(&first));
		assert_false(is_first(&ids[i]));
	}
	point_fini(&p);
	/* also when it is gone */
	assert_int_equal(point_remove(repo, &first), 0);
	assert_false(is_first(&ids[0]));
	assert_false(is_first(&ids[1]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(points_by_age),
		cmocka_unit_test(points_by_time),
		cmocka_unit_test(points_by_alias),
		cmocka_unit_test(points_in_one_second),
		cmocka_unit_test(disks_by_name),
		cmocka_unit_test(machines_by_name),
		cmocka_unit_test(what_is_no_address),
		cmocka_unit_test(removed_points_are_not_found),
		cmocka_unit_test(damaged_points_hide_no_others),
		cmocka_unit_test(first_of_a_second), /* adds to them */
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

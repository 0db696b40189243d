/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards retention: over years of backups that policies prune as they go, each
 * span of time is covered as it says, whatever the time zone; the newest point
 * never goes, nor what is held, written to or marked; a clock that jumps costs
 * nothing.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "repo/policy.h"

#define HOUR INT64_C(3600)
#define DAY (24 * HOUR)
#define BEGIN INT64_C(1700000000) /* 2023-11-14T22:13:20Z */
#define MAX_POINTS 20000

static struct policy_point points[MAX_POINTS];
static size_t n_points;

static void set_zone(const char *zone)
{
	setenv("TZ", zone, 1);
	tzset();
}

static int set_up(void **state)
{
	(void)state;
	n_points = 0;
	set_zone("UTC");
	return 0;
}

static struct policy_point *add(int64_t time)
{
	assert_true(n_points < MAX_POINTS);
	points[n_points] = (struct policy_point){ .time = time, .marks = "" };
	return &points[n_points++];
}

/* Removes what is not kept. */
static void prune_at(const struct policy *p, int64_t now)
{
	size_t n = 0;

	policy_apply(p, now, points, n_points);
	for (size_t i = 0; i < n_points; i++)
		if (points[i].keep)
			points[n++] = points[i];
	n_points = n;
}

static bool any_between(int64_t from, int64_t to)
{
	for (size_t i = 0; i < n_points; i++)
		if (points[i].time >= from && points[i].time < to)
			return true;
	return false;
}

static size_t distinct(const char *fmt)
{
	char last[32] = "", now[32];
	size_t n = 0;

	for (size_t i = 0; i < n_points; i++) {
		time_t t = (time_t)points[i].time;
		struct tm tm;

		localtime_r(&t, &tm);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		strftime(now, sizeof(now), fmt, &tm);
#pragma GCC diagnostic pop
		n += strcmp(now, last) != 0;
		strcpy(last, now);
	}
	return n;
}

/* Four backups a day for five years, pruned each day. */
static void five_years(const char *zone)
{
	const struct policy p = { .last = 3,
		.count = { [POLICY_DAILY] = 7,
			[POLICY_WEEKLY] = 5,
			[POLICY_MONTHLY] = 12,
			[POLICY_YEARLY] = 3 } };
	int64_t now = BEGIN;

	n_points = 0;
	set_zone(zone);
	for (int day = 0; day < 5 * 365; day++) {
		for (int i = 0; i < 4; i++) {
			now += 6 * HOUR;
			add(now);
		}
		prune_at(&p, now);
		assert_true(n_points <= 3 + 7 + 5 + 12 + 3);
		assert_int_equal(points[n_points - 1].time, now);
	}
	/* of the last week each day, of the last year each month */
	for (int day = 0; day < 6; day++)
		assert_true(any_between(
			now - (day + 1) * DAY - 6 * HOUR, now - day * DAY + 1));
	for (int month = 0; month < 11; month++)
		assert_true(any_between(now - (month + 2) * 31 * DAY,
			now - month * 31 * DAY + 1));
	assert_true(distinct("%Y-%m") >= 12);
	assert_int_equal(distinct("%Y"), 3);
}

static void years_in_several_zones(void **state)
{
	(void)state;
	five_years("UTC");
	five_years("Europe/Berlin");
	five_years("America/St_Johns");
	five_years("Pacific/Kiritimati");
	five_years("EST5EDT");
}

/* As prune would be if it never ran before: the same points stay. */
static void once_is_as_good_as_daily(void **state)
{
	const struct policy p = {
		.count = { [POLICY_DAILY] = 10, [POLICY_MONTHLY] = 6 }
	};
	int64_t times[64];
	size_t n;

	(void)state;
	for (int i = 0; i < 700; i++)
		add(BEGIN + i * 12 * HOUR);
	prune_at(&p, BEGIN + 700 * 12 * HOUR);
	n = n_points;
	for (size_t i = 0; i < n; i++)
		times[i] = points[i].time;
	n_points = 0;
	for (int i = 0; i < 700; i++) {
		add(BEGIN + i * 12 * HOUR);
		prune_at(&p, BEGIN + i * 12 * HOUR);
	}
	/* what went early was the last of its day then, too */
	assert_int_equal(n_points, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(points[i].time, times[i]);
}

/* 23 and 25 hours: each day keeps one. */
static void days_that_are_no_24_hours(void **state)
{
	const struct policy p = { .count = { [POLICY_DAILY] = 30 } };
	const int64_t switches[] = { 1711846800,
		1729990800 }; /* 2024, Berlin */

	(void)state;
	set_zone("Europe/Berlin");
	for (int s = 0; s < 2; s++) {
		n_points = 0;
		for (int64_t t = switches[s] - 10 * DAY;
			t < switches[s] + 10 * DAY; t += HOUR / 2)
			add(t);
		prune_at(&p, switches[s] + 10 * DAY);
		assert_int_equal(n_points, distinct("%Y-%m-%d"));
		assert_true(n_points == 20 || n_points == 21);
	}
}

static void within_counts_from_the_newest(void **state)
{
	const struct policy p = { .within = 2 * DAY };

	(void)state;
	for (int i = 0; i < 10; i++)
		add(BEGIN + i * DAY);
	/* ten years later nothing has become older than its newest */
	prune_at(&p, BEGIN + 3650 * DAY);
	assert_int_equal(n_points, 3);
	assert_int_equal(points[2].time, BEGIN + 9 * DAY);
}

static void marks_holds_and_clones_stay(void **state)
{
	struct policy p = { .tags = "gold silver" };

	(void)state;
	add(BEGIN)->marks = "golden";
	add(BEGIN + 1)->marks = "x silver y";
	add(BEGIN + 2)->marks = "#here";
	add(BEGIN + 3)->held = true;
	add(BEGIN + 4)->cloned = true;
	add(BEGIN + 5);
	add(BEGIN + 6);
	policy_apply(&p, BEGIN + DAY, points, n_points);
	assert_false(points[0].keep);
	assert_string_equal(points[1].why, "tag silver");
	assert_string_equal(points[2].why, "bookmark");
	assert_string_equal(points[3].why, "on hold");
	assert_string_equal(points[4].why, "was written to");
	assert_false(points[5].keep);
	assert_string_equal(points[6].why, "the newest");
}

static void a_clock_that_jumps_costs_nothing(void **state)
{
	const struct policy p = {
		.last = 1, .count = { [POLICY_DAILY] = 3 }, .within = DAY
	};

	(void)state;
	for (int i = 0; i < 5; i++)
		add(BEGIN + i * DAY);
	/* backups of a host whose clock was years ahead */
	add(BEGIN + 3000 * DAY);
	add(BEGIN + 3001 * DAY);
	prune_at(&p, BEGIN + 4 * DAY + HOUR);
	assert_int_equal(n_points, 5);
	assert_int_equal(points[0].time, BEGIN + 2 * DAY);
	assert_int_equal(points[2].time, BEGIN + 4 * DAY);
	/* this host's clock fell back behind all of them: all stay */
	prune_at(&p, BEGIN - 100 * DAY);
	assert_int_equal(n_points, 5);
}

static void reasons_are_all_said(void **state)
{
	const struct policy p = {
		.last = 1, .count = { 1, 1, 1, 1, 1 }, .within = HOUR
	};
	char text[200];

	(void)state;
	add(BEGIN);
	policy_apply(&p, BEGIN, points, n_points);
	assert_string_equal(points[0].why,
		"the newest, last, within, hourly 2023-11-14T22, daily "
		"2023-11-14, weekly 2023-W46, monthly 2023-11, yearly 2023");
	assert_string_equal(policy_text(&p, text, sizeof(text)),
		"last 1, hourly 1, daily 1, weekly 1, monthly 1, yearly 1, "
		"within 1 h");
}

#define TEST(f) cmocka_unit_test_setup(f, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(years_in_several_zones),
		TEST(once_is_as_good_as_daily),
		TEST(days_that_are_no_24_hours),
		TEST(within_counts_from_the_newest),
		TEST(marks_holds_and_clones_stay),
		TEST(a_clock_that_jumps_costs_nothing),
		TEST(reasons_are_all_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

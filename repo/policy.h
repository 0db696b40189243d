/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy - which points of a machine are kept. Nothing here looks at a clock or
 * a store: the same points and the same `now` give the same answer.
 *
 * Of each of the last N hours, days, weeks, months and years in which there are
 * points, the last one is kept. Spans are counted back from the newest point,
 * not from now: a machine that is backed up no more loses nothing. Points that
 * are more than a day in the future are of a clock that was wrong: they are
 * kept, and count for nothing. The last point is always kept.
 *
 * Hours and days are those of the local time (TZ); weeks are ISO 8601's.
 *
 * Threads    any thread.
 */
#ifndef HIVEFS_POLICY_H
#define HIVEFS_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum policy_unit {
	POLICY_HOURLY,
	POLICY_DAILY,
	POLICY_WEEKLY,
	POLICY_MONTHLY,
	POLICY_YEARLY,
	POLICY_UNITS
};

/* "hourly", … */
const char *policy_unit_name(enum policy_unit unit);

#define POLICY_TAGS_MAX 1000

struct policy {
	unsigned last;
	unsigned count[POLICY_UNITS];
	int64_t within;                 /* seconds before the newest */
	char tags[POLICY_TAGS_MAX + 1]; /* with a blank between two */
};

/* Does it keep anything but the last? */
bool policy_says_something(const struct policy *p);

/* "last 3, daily 7, within 48 h, tag monthly" */
char *policy_text(const struct policy *p, char *buf, size_t size);

struct policy_point {
	int64_t time;      /* seconds since 1970, UTC */
	const char *marks; /* tags and #bookmarks, with blanks between */
	bool held, cloned; /* kept whatever the policy says */
	/* the answer: */
	bool keep;
	char why[200]; /* "daily 2026-11-20, tag x" */
};

#define POLICY_FUTURE (24 * 3600)

/* V is of one machine, oldest first. */
void policy_apply(
	const struct policy *p, int64_t now, struct policy_point *v, size_t n);

#endif

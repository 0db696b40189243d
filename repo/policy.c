/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/policy.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const units[POLICY_UNITS] = {
	[POLICY_HOURLY] = "hourly",
	[POLICY_DAILY] = "daily",
	[POLICY_WEEKLY] = "weekly",
	[POLICY_MONTHLY] = "monthly",
	[POLICY_YEARLY] = "yearly",
};

const char *policy_unit_name(enum policy_unit unit)
{
	return units[unit];
}

bool policy_says_something(const struct policy *p)
{
	bool any = p->last || p->within || p->tags[0];

	for (unsigned u = 0; u < POLICY_UNITS; u++)
		any |= p->count[u] != 0;
	return any;
}

struct text {
	char *buf;
	size_t size, len;
};

__attribute__((format(printf, 2, 3))) static void add(
	struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (t->len && t->len + 2 < t->size) {
		memcpy(t->buf + t->len, ", ", 3);
		t->len += 2;
	}
	va_start(ap, fmt);
	n = vsnprintf(t->buf + t->len, t->size - t->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len += (size_t)n < t->size - t->len ? (size_t)n
						       : t->size - t->len - 1;
}

char *policy_text(const struct policy *p, char *buf, size_t size)
{
	struct text t = { .buf = buf, .size = size };

	buf[0] = 0;
	if (p->last)
		add(&t, "last %u", p->last);
	for (unsigned u = 0; u < POLICY_UNITS; u++)
		if (p->count[u])
			add(&t, "%s %u", units[u], p->count[u]);
	if (p->within)
		add(&t, "within %" PRId64 " h", p->within / 3600);
	if (p->tags[0])
		add(&t, "tags %s", p->tags);
	return buf;
}

static void keep(struct policy_point *p, const char *why, const char *what)
{
	struct text t = {
		.buf = p->why, .size = sizeof(p->why), .len = strlen(p->why)
	};

	p->keep = true;
	add(&t, "%s%s", why, what);
}

static bool has(const char *marks, const char *mark, size_t len)
{
	while (*marks) {
		size_t n = strcspn(marks, " ");

		if (n == len && memcmp(marks, mark, len) == 0)
			return true;
		marks += n + (marks[n] == ' ');
	}
	return false;
}

static void by_marks(const struct policy *p, struct policy_point *v)
{
	const char *marks = v->marks ? v->marks : "";
	const char *tag = p->tags;
	char text[136];

	while (*tag) {
		size_t n = strcspn(tag, " ");

		if (has(marks, tag, n)) {
			snprintf(text, sizeof(text), "%.*s", (int)n, tag);
			keep(v, "tag ", text);
		}
		tag += n + (tag[n] == ' ');
	}
	if (strchr(marks, '#'))
		keep(v, "bookmark", "");
	if (v->held)
		keep(v, "on hold", "");
	if (v->cloned)
		keep(v, "was written to", "");
}

/* The newest one of a bucket is met first. */
struct unit_state {
	char bucket[24];
	unsigned used;
};

/* What points of one hour, day, … have in common. */
static void bucket_of(
	unsigned unit, const struct tm *tm, char *buf, size_t size)
{
	switch (unit) {
	case POLICY_HOURLY:
		strftime(buf, size, "%Y-%m-%dT%H", tm);
		break;
	case POLICY_DAILY:
		strftime(buf, size, "%Y-%m-%d", tm);
		break;
	case POLICY_WEEKLY:
		strftime(buf, size, "%G-W%V", tm);
		break;
	case POLICY_MONTHLY:
		strftime(buf, size, "%Y-%m", tm);
		break;
	default:
		strftime(buf, size, "%Y", tm);
		break;
	}
}

static void by_time(const struct policy *p, struct unit_state *state,
	struct policy_point *v)
{
	time_t t = (time_t)v->time;
	struct tm tm;

	if (!localtime_r(&t, &tm)) {
		keep(v, "of no known day", "");
		return;
	}
	for (unsigned u = 0; u < POLICY_UNITS; u++) {
		struct unit_state *s = &state[u];
		char bucket[sizeof(s->bucket)], text[sizeof(s->bucket) + 1];

		if (s->used == p->count[u])
			continue;
		bucket_of(u, &tm, bucket, sizeof(bucket));
		if (strcmp(bucket, s->bucket) == 0)
			continue;
		snprintf(s->bucket, sizeof(s->bucket), "%s", bucket);
		s->used++;
		snprintf(text, sizeof(text), " %s", bucket);
		keep(v, units[u], text);
	}
}

void policy_apply(
	const struct policy *p, int64_t now, struct policy_point *v, size_t n)
{
	struct unit_state state[POLICY_UNITS] = { 0 };
	const struct policy_point *newest = NULL;
	unsigned used = 0;

	for (size_t i = n; i-- > 0;) {
		struct policy_point *at = &v[i];

		at->keep = false;
		at->why[0] = 0;
		by_marks(p, at);
		if (at->time > now + POLICY_FUTURE) {
			keep(at, "of the future", "");
			continue;
		}
		if (!newest) {
			newest = at;
			keep(at, "the newest", "");
		}
		if (used < p->last) {
			used++;
			keep(at, "last", "");
		}
		if (p->within && newest->time - at->time <= p->within)
			keep(at, "within", "");
		by_time(p, state, at);
	}
}

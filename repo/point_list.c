/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "repo/decode.h"
#include "repo/point.h"
#include "src/log_many.h"

struct listing {
	struct repo *repo;
	bool all; /* damaged ones, too */
	point_visit visit;
	void *arg;
	int damage;
};

/* One damaged document must not hide the points behind it. */
static int visit_key(void *arg, const struct doc *d)
{
	static struct log_many damaged = { .what = "damaged points" };
	struct listing *l = arg;
	struct point_id id;
	struct point p;
	int err = point_key_parse(&d->key, &id);

	if (err < 0) {
		l->damage = err;
		return 0;
	}
	err = point_get(l->repo, &id, &p);
	if (err == -EBADMSG) {
		scoped(freep) char *text = point_naming(l->repo, &id);

		l->damage = fail_many(&damaged, EBADMSG, "point %s: is damaged",
			text ? text : "?");
		p = (struct point){ .id = id };
	}
	if (err == -ENOENT || (err == -EBADMSG && !l->all))
		return 0;
	if (err == -EBADMSG)
		err = 0;
	if (err < 0)
		return err;
	err = l->visit(l->arg, &p);
	point_fini(&p);
	return err;
}

static int list(struct listing *l, const struct uuid *machine, bool reverse)
{
	unsigned flags = SCAN_KEYS | (reverse ? SCAN_REVERSE : 0);
	struct key prefix = { 0 };
	int err;

	if (machine)
		prefix = key_of(machine->b, sizeof(machine->b));
	err = store_scan(l->repo->store, COLL_POINTS, machine ? &prefix : NULL,
		flags, visit_key, l);
	return err ? err : l->damage;
}

int point_list(struct repo *r, const struct uuid *machine, bool newest_first,
	point_visit visit, void *arg)
{
	struct listing l = { .repo = r, .visit = visit, .arg = arg };

	return list(&l, machine, newest_first);
}

int point_list_all(struct repo *r, const struct uuid *machine,
	point_visit visit, void *arg)
{
	struct listing l = {
		.repo = r, .all = true, .visit = visit, .arg = arg
	};

	return list(&l, machine, true);
}

/* The one of several points of a second that was published first. */
struct second {
	struct repo *repo;
	unsigned n;
	bool decode; /* once more, for there are several */
	struct point_id first;
	int64_t end;
};

/* Of a tombstone, too: what had the name keeps it. */
static int64_t end_of(const struct doc *d)
{
	struct decode in;
	int64_t end;

	decode_begin(&in, d);
	end = decode_has(&in, "end") ? decode_i64(&in, "end", 0, INT64_MAX)
				     : INT64_MAX;
	return in.bad ? INT64_MAX : end;
}

static int visit_second(void *arg, const struct doc *d)
{
	struct second *s = arg;
	struct point_id id;
	struct doc whole;
	int64_t end = INT64_MAX; /* of a damaged one: it took no name away */
	int err = point_key_parse(&d->key, &id);

	if (err < 0)
		return 0;
	if (s->n++ == 0)
		s->first = id;
	if (!s->decode)
		return 0;
	err = store_get(s->repo->store, COLL_POINTS, &d->key, &whole);
	if (err == 0) {
		end = end_of(&whole);
		doc_fini(&whole);
	}
	if (end < s->end) {
		s->end = end;
		s->first = id;
	}
	return err == -ENOENT || err == -EBADMSG ? 0 : err;
}

int point_is_first(struct repo *r, const struct point_id *id, bool *ret)
{
	struct second s = { .repo = r, .end = INT64_MAX };
	struct key prefix = point_key(id);
	int err;

	prefix.len = offsetof(struct point_id, writer);
	err = store_scan(
		r->store, COLL_POINTS, &prefix, SCAN_KEYS, visit_second, &s);
	if (err == 0 && s.n > 1) {
		s.decode = true;
		err = store_scan(r->store, COLL_POINTS, &prefix, SCAN_KEYS,
			visit_second, &s);
	}
	if (err < 0)
		return err;
	*ret = s.n < 2 || memcmp(&s.first, id, sizeof(*id)) == 0;
	return 0;
}

#define CLOCK_SLACK 60

int64_t point_time_after(const struct point *latest)
{
	int64_t now = time(NULL);

	if (latest && latest->id.time >= now &&
		latest->id.time - now < CLOCK_SLACK)
		return latest->id.time + 1;
	return now;
}

static int take_id(void *arg, const struct point *p)
{
	*(struct point_id *)arg = p->id;
	return 1;
}

int point_latest(struct repo *r, const struct uuid *machine, struct point *ret)
{
	struct point_id id;
	int err = point_list(r, machine, true, take_id, &id);

	if (err == 0)
		return -ENOENT;
	return err < 0 ? err : point_get(r, &id, ret);
}

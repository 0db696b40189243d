/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/probe.h"

#include <bson/bson.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "repo/clock.h"
#include "repo/listing.h"
#include "repo/point.h"
#include "repo/probe_embedded.h"
#include "repo/probe_mongo.h"
#include "repo/quarantine.h"
#include "repo/store_mongo.h"
#include "repo/writers.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/monotonic.h"
#include "src/text.h"
#include "src/url.h"

#define GETS 15

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char heard[2048]; /* lock */
static const struct probe *current;
static log_at_exit next_at_exit;

void probe_say(const struct probe *p, const char *check, enum probe_grade grade,
	const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->say(p->arg, check, grade, text);
}

static void keep(enum log_level level, const char *text)
{
	pthread_mutex_lock(&lock);
	if (level == LOG_LEVEL_ERROR && !heard[0])
		snprintf(heard, sizeof(heard), "%s", text);
	pthread_mutex_unlock(&lock);
}

void probe_listen(void)
{
	pthread_mutex_lock(&lock);
	heard[0] = 0;
	pthread_mutex_unlock(&lock);
}

void probe_heard(const struct probe *p, const char *check,
	enum probe_grade grade, const char *hint)
{
	char text[sizeof(heard)];

	pthread_mutex_lock(&lock);
	memcpy(text, heard, sizeof(text));
	heard[0] = 0;
	pthread_mutex_unlock(&lock);
	probe_say(p, check, grade, "%s%s%s", text[0] ? text : "failed",
		hint ? "; " : "", hint ? hint : "");
}

static int order_times(const void *pa, const void *pb)
{
	double a = *(const double *)pa, b = *(const double *)pb;

	return a < b ? -1 : a > b;
}

static void check_latency(const struct probe *p, struct repo *r)
{
	double ms[GETS];
	uint64_t generation;

	probe_listen();
	for (unsigned i = 0; i < GETS; i++) {
		double begin = monotonic_seconds() * 1e3;

		if (repo_generation(r, &generation) < 0) {
			probe_heard(p, "round trip", PROBE_FAILED, NULL);
			return;
		}
		ms[i] = monotonic_seconds() * 1e3 - begin;
	}
	qsort(ms, GETS, sizeof(*ms), order_times);
	if (ms[GETS / 2] > 50)
		probe_say(p, "round trip", PROBE_WARNING,
			"%.1f ms: clones that are written to wait so long at "
			"each sync; move the store closer",
			ms[GETS / 2]);
	else
		probe_say(p, "round trip", PROBE_OK, "%.2f ms a read",
			ms[GETS / 2]);
}

/*
 * The registration of a backup that will never be: the one kind of document
 * that every host which backs up may make and remove. Should we be killed, gc
 * removes it as that of a dead writer.
 */
struct guest {
	bson_t body;
	struct doc doc;
	struct repo *repo;
};

static void guest_init(struct guest *g, struct repo *r, uint64_t generation)
{
	struct uuid id = uuid_random(), target = uuid_random();

	g->repo = r;
	bson_init(&g->body);
	BSON_APPEND_INT32(&g->body, "kind", WRITER_POINT);
	BSON_APPEND_BINARY(&g->body, "target", BSON_SUBTYPE_BINARY, target.b,
		sizeof(target.b));
	BSON_APPEND_INT64(&g->body, "version", 0);
	g->doc = (struct doc){ .coll = COLL_WRITERS,
		.key = key_of(id.b, sizeof(id.b)),
		.version = 1,
		.generation = generation,
		.body = bson_get_data(&g->body),
		.len = g->body.len };
}

static int change(struct guest *g, uint64_t from)
{
	struct doc d = g->doc;

	d.version = from + 1;
	return store_replace(g->repo->store, &d, from);
}

static int drop(struct guest *g, uint64_t version)
{
	return store_remove(g->repo->store, COLL_WRITERS, &g->doc.key, version);
}

/* GOT is what is wanted, or says in a line why not. */
static bool expect(const struct probe *p, const char *check, int got, int want,
	const char *otherwise)
{
	if (got == want)
		return true;
	if (got < 0 && got != -EEXIST && got != -ESTALE && got != -ENOENT)
		probe_heard(p, check, PROBE_FAILED, NULL);
	else
		probe_say(p, check, PROBE_FAILED,
			"%s: a repository here would lose data; use another "
			"server or directory",
			otherwise);
	return false;
}

static void check_unique(const struct probe *p, struct guest *g)
{
	if (expect(p, "unique keys", store_insert(g->repo->store, &g->doc),
		    -EEXIST, "a second document under one key is accepted"))
		probe_say(p, "unique keys", PROBE_OK,
			"a second document under one key is refused");
}

/* Leaves version 2. */
static void check_conditional(const struct probe *p, struct guest *g)
{
	static const char name[] = "conditional";
	struct doc d;
	bool ok;

	ok = expect(p, name, change(g, 7), -ESTALE,
		     "a change of another version is accepted") &&
	     expect(p, name, change(g, 1), 0,
		     "a change of the right version is refused") &&
	     expect(p, name, change(g, 1), -ESTALE,
		     "a change is accepted twice") &&
	     expect(p, name, drop(g, 1), -ESTALE,
		     "a removal of another version is accepted") &&
	     expect(p, name,
		     store_get(g->repo->store, COLL_WRITERS, &g->doc.key, &d),
		     0, "what was acknowledged is not there");
	if (!ok)
		return;
	ok = expect(p, name, d.version == 2 ? 0 : -ESTALE, 0,
		"a read does not see the last change");
	doc_fini(&d);
	if (ok)
		probe_say(p, name, PROBE_OK,
			"changes and removals hold where the version is the "
			"one that was read");
}

struct ordering {
	struct key last;
	const struct guest *guest;
	bool wrong, seen;
};

static int visit_order(void *arg, const struct doc *d)
{
	struct ordering *o = arg;

	if (o->last.len)
		o->wrong |= memcmp(o->last.b, d->key.b,
				    MIN_OF(o->last.len, d->key.len)) > 0;
	o->last = d->key;
	o->seen |= key_eq(&d->key, &o->guest->doc.key);
	return 0;
}

static void check_order(const struct probe *p, struct guest *g)
{
	struct ordering o = { .guest = g };
	int r = store_scan(
		g->repo->store, COLL_WRITERS, NULL, SCAN_KEYS, visit_order, &o);

	if (r < 0)
		probe_heard(p, "order", PROBE_FAILED, NULL);
	else if (o.wrong || !o.seen)
		probe_say(p, "order", PROBE_FAILED,
			"%s: a collection of garbage would remove what is "
			"needed; use another server or directory",
			o.wrong ? "a listing is not in the order of its keys"
				: "a listing lacks what was just inserted");
	else
		probe_say(p, "order", PROBE_OK,
			"listings are in the order of their keys, and whole");
}

/* The contract of store.h as far as one document can show it. */
static void check_contract(const struct probe *p, struct repo *r)
{
	uint64_t generation;
	struct guest g, other;
	double begin = monotonic_seconds() * 1e3;

	probe_listen();
	if (repo_generation(r, &generation) < 0) {
		probe_heard(p, "durable", PROBE_FAILED, NULL);
		return;
	}
	guest_init(&g, r, generation);
	guest_init(&other, r, generation);
	if (store_insert(r->store, &g.doc) < 0 || store_sync(r->store) < 0 ||
		store_insert(r->store, &other.doc) < 0) {
		probe_heard(p, "durable", PROBE_FAILED, NULL);
	} else {
		probe_say(p, "durable", PROBE_OK,
			"a write is acknowledged once it is on stable storage, "
			"in %.1f ms",
			(monotonic_seconds() * 1e3 - begin) / 2);
		check_unique(p, &g);
		check_conditional(p, &g);
		check_order(p, &g);
	}
	/* whatever version it got to */
	if (drop(&g, 2) == -ESTALE && drop(&g, 1) < 0)
		log_debug("doctor", "a registration is left for gc");
	if (drop(&other, 1) < 0)
		log_debug("doctor", "a registration is left for gc");
	bson_destroy(&g.body);
	bson_destroy(&other.body);
}

static int take_newest(void *arg, const struct point *p)
{
	int64_t *newest = arg;

	*newest = MAX_OF(*newest, p->id.time);
	return 0;
}

static void check_clock(const struct probe *p, struct repo *r)
{
	int64_t newest = r->created, now = time(NULL);
	char a[32], b[32];
	int err;

	probe_listen();
	err = point_list(r, NULL, false, take_newest, &newest);
	if (err == -EBADMSG)
		probe_heard(p, "points", PROBE_FAILED,
			"hivefs verify says what else is damaged");
	else if (err < 0)
		probe_heard(p, "points", PROBE_FAILED, NULL);
	if (newest > now + 60)
		probe_say(p, "clock", PROBE_WARNING,
			"it says %s, and the newest point is of %s: set the "
			"clock",
			time_text(now, a), time_text(newest, b));
	else if (now - newest > CLOCK_AHEAD_MAX)
		probe_say(p, "clock", PROBE_OK,
			"it says %s, a day or more after the newest point, of "
			"%s",
			time_text(now, a), time_text(newest, b));
	else
		probe_say(p, "clock", PROBE_OK,
			"it says %s, and so do the points", time_text(now, a));
}

static void check_listings(const struct probe *p, struct repo *r)
{
	probe_listen();
	if (listing_check(r->store) < 0)
		probe_heard(p, "listings", PROBE_FAILED, NULL);
	else
		probe_say(p, "listings", PROBE_OK,
			"machines, points and labels are as many as the store "
			"counts");
}

static void check_writers(const struct probe *p, struct repo *r)
{
	struct writers w = { 0 };
	size_t dead;
	int err;

	probe_listen();
	err = writers_list(r, &w);
	dead = err == 0 ? writers_dead(r, &w) : 0;
	if (err < 0)
		probe_heard(p, "others", PROBE_FAILED,
			"no garbage is collected until that is repaired");
	else if (dead)
		probe_say(p, "others", PROBE_WARNING,
			"%zu backup%s or clone%s that died %s registered: "
			"hivefs gc gives them up",
			dead, plural(dead), plural(dead),
			dead == 1 ? "is still" : "are still");
	else
		probe_say(p, "others", PROBE_OK, "%zu at work", w.n);
	writers_fini(&w);
}

static int count_one(void *arg, const struct doc *d)
{
	(void)d;
	++*(uint64_t *)arg;
	return 0;
}

static void check_leftovers(const struct probe *p, struct repo *r)
{
	struct quarantine q = { 0 };
	uint64_t condemned = 0;
	int err;

	probe_listen();
	err = quarantine_load(r, &q);
	if (err == 0)
		err = store_scan(r->store, COLL_CONDEMNED, NULL, SCAN_KEYS,
			count_one, &condemned);
	if (err < 0)
		probe_heard(p, "leftovers", PROBE_FAILED, NULL);
	if (err == 0 && q.n)
		probe_say(p, "quarantine", PROBE_WARNING,
			"%zu document%s damaged or missing: hivefs verify says "
			"what that touches, and the next backup or copy of the "
			"same bytes heals it",
			q.n, q.n == 1 ? " is" : "s are");
	if (err == 0 && condemned)
		probe_say(p, "leftovers", PROBE_WARNING,
			"a garbage collection is under way or was interrupted "
			"(%" PRIu64 " documents): hivefs gc finishes it",
			condemned);
	else if (err == 0)
		probe_say(p, "leftovers", PROBE_OK,
			"no collection was interrupted");
	quarantine_fini(&q);
}

static int check_open(const struct probe *p, const char *url, unsigned flags,
	struct repo **ret)
{
	char uuid[UUID_TEXT], when[32];
	int r;

	probe_listen();
	r = repo_open(url, flags, ret);
	if (r < 0)
		probe_heard(p, "repository", PROBE_FAILED, NULL);
	else
		probe_say(p, "repository", PROBE_OK, "%s, format %d, made %s",
			uuid_text(&(*ret)->uuid, uuid), REPO_FORMAT,
			time_text((*ret)->created, when));
	return r;
}

static int probe_all(const struct probe *p, const char *url)
{
	bool mongo = mongo_is_url(url), writable = false;
	struct repo *r = NULL;
	int err = mongo ? probe_mongo(p, url, &writable)
			: probe_embedded(p, url_directory(url), &writable);

	if (err < 0)
		return err;
	err = check_open(p, url, writable ? 0 : STORE_READ_ONLY, &r);
	if (err < 0)
		return err == -ENOMEDIUM ? err : 0;
	check_latency(p, r);
	if (writable)
		check_contract(p, r);
	check_listings(p, r);
	check_clock(p, r);
	check_writers(p, r);
	check_leftovers(p, r);
	if (!mongo)
		probe_segments(p, r);
	repo_close(r);
	return 0;
}

/* An index may be so damaged that the process cannot go on (index_guard.h). */
static void on_exit_within(int code)
{
	probe_heard(current, "index", PROBE_FAILED, NULL);
	fflush(stdout);
	if (next_at_exit)
		next_at_exit(code);
}

int probe_repository(const struct probe *p, const char *url)
{
	log_sink before = log_get_sink();
	int r;

	current = p;
	next_at_exit = log_get_at_exit();
	log_set_sink(keep);
	log_set_at_exit(on_exit_within);
	r = probe_all(p, url);
	log_set_sink(before);
	log_set_at_exit(next_at_exit);
	return r;
}

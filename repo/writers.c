/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/writers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "repo/clone.h"
#include "repo/decode.h"
#include "src/cleanup.h"
#include "src/log.h"
#include "src/monotonic.h"
#include "src/text.h"

#define POLL_NS 100000000 /* 0.1 s */

/* Absent from a registration by an older hivefs. */
static void decode_optional(
	struct decode *in, const char *field, char *ret, size_t size)
{
	scoped(freep) char *text = NULL;

	if (!decode_has(in, field))
		return;
	text = decode_text(in, field);
	if (text && strlen(text) >= size)
		decode_spoil(in, field, -EBADMSG);
	else if (text)
		snprintf(ret, size, "%s", text);
}

static int decode(const struct doc *doc, struct writer_seen *ret)
{
	struct writer_seen w = { .version = doc->version,
		.generation = doc->generation };
	struct decode in;
	int err;

	if (doc->key.len != sizeof(w.id.b))
		return fail(EBADMSG, "writers: a damaged key");
	memcpy(w.id.b, doc->key.b, sizeof(w.id.b));
	decode_begin(&in, doc);
	w.kind = (enum writer_kind)decode_i32(
		&in, "kind", WRITER_POINT, WRITER_COPY);
	decode_bytes(&in, "target", w.target.b, sizeof(w.target.b));
	w.target_version = (uint64_t)decode_i64(&in, "version", 0, INT64_MAX);
	if (decode_has(&in, "time"))
		w.time = decode_i64(&in, "time", 0, INT64_MAX);
	if (w.kind == WRITER_COPY)
		decode_bytes(&in, "point", w.point.b, sizeof(w.point.b));
	decode_optional(&in, "host", w.host, sizeof(w.host));
	decode_optional(&in, "process", w.process, sizeof(w.process));
	err = decode_end(&in, "writer");
	if (err == 0)
		*ret = w;
	return err;
}

static int visit(void *arg, const struct doc *doc)
{
	struct writers *list = arg;
	struct writer_seen w;
	int err = decode(doc, &w);

	if (err == 0 && vec_add(list, w) < 0)
		err = fail(ENOMEM, "writers: %m");
	return err;
}

int writers_list(struct repo *r, struct writers *ret)
{
	struct writers list = { 0 };
	int err = store_scan(r->store, COLL_WRITERS, NULL, 0, visit, &list);

	if (err < 0)
		vec_fini(&list);
	else
		*ret = list;
	return err;
}

void writers_fini(struct writers *w)
{
	vec_fini(w);
}

uint64_t writers_lowest(const struct writers *w)
{
	uint64_t lowest = UINT64_MAX;

	for (size_t i = 0; i < w->n; i++)
		if (w->v[i].generation < lowest)
			lowest = w->v[i].generation;
	return lowest;
}

static struct key writer_key(const struct uuid *id)
{
	return key_of(id->b, sizeof(id->b));
}

/* -ENOENT, quietly. */
static int look(struct repo *r, const struct uuid *id, struct writer_seen *ret)
{
	struct key key = writer_key(id);
	struct doc doc;
	int err = store_get(r->store, COLL_WRITERS, &key, &doc);

	if (err < 0)
		return err;
	err = decode(&doc, ret);
	doc_fini(&doc);
	return err;
}

static int fence(struct repo *r, const struct writer_seen *w)
{
	struct point_id point = {
		.machine = w->target, .time = w->time, .writer = w->id
	};
	int err;

	if (w->kind == WRITER_CLONE)
		return clone_fence(r, &w->target, w->target_version);
	if (w->kind == WRITER_COPY) {
		point.writer = w->point;
		return point_fence(r, &point, w->target_version);
	}
	/* that it is to remove a document that says no time is fence enough:
	 * to say one it must find the document */
	if (w->time == 0)
		return 0;
	err = point_forbid(r, &point);
	return err == -EEXIST ? 0 : err;
}

int writer_give_up(struct repo *r, const struct writer_seen *seen)
{
	struct writer_seen w = *seen;
	int err;

	do {
		struct key key = writer_key(&w.id);

		err = fence(r, &w);
		if (err == 0)
			err = store_remove(
				r->store, COLL_WRITERS, &key, w.version);
		/* it may have said more meanwhile */
		if (err == -ESTALE && look(r, &w.id, &w) == -ENOENT)
			err = -ENOENT;
	} while (err == -ESTALE);
	return err == -ENOENT ? 0 : err;
}

/* A writer that is waited for, and since when it has not moved. */
struct watched {
	struct uuid id;
	uint64_t version;
	time_t since;
};
struct watch vec(struct watched);

/* Seconds that it has been silent for. */
static int silent(struct watch *watch, const struct writer_seen *w, time_t *ret)
{
	time_t now = (time_t)monotonic_seconds();

	for (size_t i = 0; i < watch->n; i++) {
		struct watched *seen = &watch->v[i];

		if (memcmp(&seen->id, &w->id, sizeof(w->id)) != 0)
			continue;
		if (seen->version != w->version)
			seen->since = now;
		seen->version = w->version;
		*ret = now - seen->since;
		return 0;
	}
	*ret = 0;
	if (vec_add(watch, (struct watched){ .id = w->id,
				   .version = w->version,
				   .since = now }) < 0)
		return fail(ENOMEM, "writers: %m");
	return 0;
}

struct waiting {
	struct repo *repo;
	uint64_t limit;
	unsigned patience;
	struct watch watch;
	uint64_t n_given_up;
	bool said;
};

static const char *noun(enum writer_kind kind)
{
	return kind == WRITER_POINT  ? "a backup"
	       : kind == WRITER_COPY ? "a copy"
				     : "a clone's writer";
}

/* ALONE: no process has the store open but us. */
static bool is_dead(const struct writer_seen *w, bool alone)
{
	return alone ||
	       (w->process[0] && process_state(w->process) == PROCESS_DEAD);
}

static int give_up(struct waiting *w, const struct writer_seen *seen)
{
	w->n_given_up++;
	return writer_give_up(w->repo, seen);
}

/* 1: it is to be waited for. */
static int consider(
	struct waiting *w, const struct writer_seen *seen, bool alone)
{
	const char *on = seen->host[0] ? " on " : "";
	time_t seconds;
	int err;

	if (is_dead(seen, alone)) {
		log_info("%s that died is given up", noun(seen->kind));
		return give_up(w, seen);
	}
	err = silent(&w->watch, seen, &seconds);
	if (err < 0)
		return err;
	if (seconds < (time_t)w->patience)
		return 1;
	log_info("%s%s%s that was silent for %u seconds is given up",
		noun(seen->kind), on, seen->host, w->patience);
	return give_up(w, seen);
}

/* 1: there were some, so it is looked again. */
static int round_of(struct waiting *w)
{
	struct writers list = { 0 };
	int err = writers_list(w->repo, &list);
	bool alone = store_alone(w->repo->store);
	uint64_t left = 0, awaited = 0;

	for (size_t i = 0; err >= 0 && i < list.n; i++)
		if (list.v[i].generation < w->limit) {
			left++;
			err = consider(w, &list.v[i], alone);
			awaited += err == 1;
		}
	writers_fini(&list);
	if (err >= 0 && awaited && !w->said) {
		w->said = true;
		log_info("waiting for %" PRIu64 " backup%s or clone%s that "
			 "began before; what they need is not known yet",
			awaited, plural(awaited), plural(awaited));
	}
	return err < 0 ? err : left > 0;
}

size_t writers_dead(struct repo *r, const struct writers *w)
{
	bool alone = store_alone(r->store);
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++)
		n += is_dead(&w->v[i], alone);
	return n;
}

int writers_give_up_dead(struct repo *r, uint64_t *ret_given_up)
{
	struct waiting w = { .repo = r };
	struct writers list = { 0 };
	int err = writers_list(r, &list);
	/* asked after they were listed: who comes now has registered later */
	bool alone = list.n && store_alone(r->store);

	for (size_t i = 0; err == 0 && i < list.n; i++)
		if (is_dead(&list.v[i], alone))
			err = consider(&w, &list.v[i], alone);
	writers_fini(&list);
	*ret_given_up = w.n_given_up;
	return err;
}

int writers_wait(struct repo *r, uint64_t limit, unsigned patience,
	const _Atomic bool *cancel, uint64_t *ret_given_up)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };
	struct waiting w = { .repo = r, .limit = limit, .patience = patience };
	int err;

	while ((err = round_of(&w)) == 1) {
		if (cancel && *cancel) {
			err = -ECANCELED;
			break;
		}
		nanosleep(&pause, NULL);
	}
	vec_fini(&w.watch);
	*ret_given_up = w.n_given_up;
	return err;
}

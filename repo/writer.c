/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/writer.h"

#include <bson/bson.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "repo/condemned.h"
#include "src/log.h"
#include "src/monotonic.h"
#include "src/process.h"

#define BEAT_SECONDS 5
#define SWEEP_SECONDS 60 /* that a collector may take for a batch */

struct writer {
	struct repo *repo;
	struct uuid id, target;
	enum writer_kind kind;
	uint64_t target_version;
	int64_t time;      /* of the point; 0: not said yet */
	struct uuid point; /* of a copy: the id of its first writer */
	char host[PROCESS_HOST], process[PROCESS_TEXT];
	uint64_t generation;
	bool must_look; /* a collection was under way when we registered */
	_Atomic bool may_not_sweep; /* in the place of a collector */
	pthread_mutex_t lock;
	bool beating;     /* lock: one thread moves the heartbeat */
	uint64_t version; /* lock; of our document: the heartbeat's value */
	time_t last_beat; /* lock; of monotonic.h */
};

/* Inserts our document (version 1) or moves it on to VERSION. */
static int put(struct writer *w, uint64_t version)
{
	bson_t b = BSON_INITIALIZER;
	struct doc d;
	int err;

	BSON_APPEND_INT32(&b, "kind", (int32_t)w->kind);
	BSON_APPEND_BINARY(&b, "target", BSON_SUBTYPE_BINARY, w->target.b,
		sizeof(w->target.b));
	BSON_APPEND_INT64(&b, "version", (int64_t)w->target_version);
	if (w->time || w->kind == WRITER_COPY)
		BSON_APPEND_INT64(&b, "time", w->time);
	if (w->kind == WRITER_COPY)
		BSON_APPEND_BINARY(&b, "point", BSON_SUBTYPE_BINARY, w->point.b,
			sizeof(w->point.b));
	BSON_APPEND_UTF8(&b, "host", w->host);
	BSON_APPEND_UTF8(&b, "process", w->process);
	d = (struct doc){ .coll = COLL_WRITERS,
		.key = key_of(w->id.b, sizeof(w->id.b)),
		.version = version,
		.generation = w->generation,
		.body = bson_get_data(&b),
		.len = b.len };
	err = version == 1 ? store_insert(w->repo->store, &d)
			   : store_replace(w->repo->store, &d, version - 1);
	bson_destroy(&b);
	if (err == 0)
		w->version = version;
	return err;
}

static int given_up(void)
{
	return fail(ENOTUNIQ,
		"this was given up by a garbage collection that took it for "
		"dead; run it again");
}

/* Until no collection began between reading the counter and registering. */
static int sign_on(struct writer *w)
{
	uint64_t now;
	int err = repo_generation(w->repo, &w->generation);

	if (err == 0)
		err = put(w, 1);
	for (;;) {
		if (err == 0)
			err = repo_generation(w->repo, &now);
		if (err < 0 || now == w->generation)
			break;
		w->generation = now;
		err = put(w, w->version + 1);
		if (err == -ENOENT || err == -ESTALE)
			err = given_up();
	}
	return err;
}

static int seek_older(void *arg, const struct doc *d)
{
	const struct writer *w = arg;

	return d->generation < w->generation;
}

static int begin(struct repo *r, const struct writer *what, struct writer **ret)
{
	struct writer *w = malloc(sizeof(*w));
	int err;

	if (!w)
		return fail(ENOMEM, "writer: %m");
	*w = *what;
	w->repo = r;
	w->id = uuid_random();
	process_host(w->host);
	process_text(w->process);
	w->last_beat = (time_t)monotonic_seconds();
	pthread_mutex_init(&w->lock, NULL);
	err = sign_on(w);
	/*
	 * Only what a collection had condemned before we began can be swept
	 * under us: the next one waits for us.
	 */
	if (err == 0)
		err = store_scan(r->store, COLL_CONDEMNED, NULL, SCAN_KEYS,
			seek_older, w);
	if (err < 0) {
		writer_end(w);
		return err;
	}
	w->must_look = err > 0;
	*ret = w;
	return 0;
}

int writer_begin(struct repo *r, enum writer_kind kind,
	const struct uuid *target, uint64_t version, struct writer **ret)
{
	const struct writer what = {
		.kind = kind, .target = *target, .target_version = version
	};

	return begin(r, &what, ret);
}

int writer_begin_copy(struct repo *r, const struct point_id *id,
	uint64_t version, struct writer **ret)
{
	const struct writer what = { .kind = WRITER_COPY,
		.target = id->machine,
		.target_version = version,
		.time = id->time,
		.point = id->writer };

	return begin(r, &what, ret);
}

int writer_aim(struct writer *w, int64_t time)
{
	int err;

	w->time = time;
	err = put(w, w->version + 1);
	return err == -ENOENT || err == -ESTALE ? given_up() : err;
}

void writer_end(struct writer *w)
{
	struct key key = key_of(w->id.b, sizeof(w->id.b));

	/* one that is left behind costs a collector its patience, no data */
	if (w->version && store_remove(w->repo->store, COLL_WRITERS, &key,
				  w->version) < 0)
		log_debug("writer", "could not sign off");
	pthread_mutex_destroy(&w->lock);
	free(w);
}

struct uuid writer_id(const struct writer *w)
{
	return w->id;
}

uint64_t writer_generation(const struct writer *w)
{
	return w->generation;
}

void writer_beat(struct writer *w)
{
	uint64_t next = 0;
	time_t now = (time_t)monotonic_seconds();

	pthread_mutex_lock(&w->lock);
	if (!w->beating && now - w->last_beat >= BEAT_SECONDS) {
		w->beating = true;
		w->last_beat = now;
		next = w->version + 1;
	}
	pthread_mutex_unlock(&w->lock);
	if (next == 0)
		return;
	/* if we were given up, publishing will say so */
	if (put(w, next) < 0)
		log_debug("writer", "heartbeat failed");
	pthread_mutex_lock(&w->lock);
	w->beating = false;
	pthread_mutex_unlock(&w->lock);
}

/* 0: swept. -ESTALE: something else became of it. */
static int wait_for_sweep(struct writer *w, const struct digest *d)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	time_t begun = (time_t)monotonic_seconds();
	char hex[DIGEST_HEX];
	struct condemned found;

	do {
		int err = condemned_get(w->repo, d, &found);

		if (err < 0)
			return err == -ENOENT ? 0 : err;
		if (!found.sweeping)
			return -ESTALE;
		writer_beat(w);
		nanosleep(&pause, NULL);
	} while ((time_t)monotonic_seconds() - begun < SWEEP_SECONDS);
	return fail(EACCES,
		"%.16s…: a gc began to remove it and does not go on, which "
		"this user may not do in its place: run hivefs gc",
		digest_hex(d, hex));
}

/*
 * A sweep, whose collector may have died in it, is finished here: what it
 * removes is then missing, and stored anew. Who may not remove anything waits
 * for the collector.
 */
static int end_sweep(
	struct writer *w, const struct digest *d, const struct condemned *found)
{
	int err = -EACCES;

	if (!atomic_load(&w->may_not_sweep))
		err = condemned_finish(w->repo, found);
	if (err != -EACCES)
		return err;
	if (!atomic_exchange(&w->may_not_sweep, true))
		log_info("a gc is under way; waiting for what it removes");
	return wait_for_sweep(w, d);
}

/* 0: it is not condemned, or no longer. */
static int save_one(struct writer *w, const struct digest *d)
{
	struct key key = key_of(d->b, sizeof(d->b));
	struct condemned found;
	int err;

	do {
		err = condemned_get(w->repo, d, &found);
		if (err == -ENOENT)
			return 0;
		if (err == 0 && found.sweeping)
			err = end_sweep(w, d, &found);
		else if (err == 0)
			err = store_remove(w->repo->store, COLL_CONDEMNED, &key,
				found.version);
	} while (err == -ESTALE);
	return err == -ENOENT ? 0 : err;
}

int writer_rely(struct writer *w, const struct digest *digests, size_t n)
{
	int err = 0;

	if (!w->must_look)
		return 0;
	for (size_t i = 0; err == 0 && i < n; i++)
		err = save_one(w, &digests[i]);
	return err;
}

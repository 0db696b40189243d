/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/mongo_owner.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "repo/mongo_silence.h"
#include "src/log.h"
#include "src/text.h"

static char *stream_name(const struct uuid *stream, char buf[33])
{
	return hex_encode(stream->b, sizeof(stream->b), buf);
}

bool owner_alive(
	struct mongo *m, const struct uuid *stream, const struct mongo_owner *o)
{
	enum process_state state;

	if (o->own == 0)
		return false;
	state = process_state(o->process);
	if (state == PROCESS_ALIVE || state == PROCESS_DEAD)
		return state == PROCESS_ALIVE;
	if (m->flags & STORE_TAKEOVER)
		return false;
	return silence_ms(&m->silences, stream, o->own, o->beat) <
	       OWNER_SILENT_MS;
}

static uint64_t number(const bson_t *b, const char *name)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, b, name) && BSON_ITER_HOLDS_INT(&it)
		       ? (uint64_t)bson_iter_as_int64(&it)
		       : 0;
}

static void text(const bson_t *b, const char *name, char *buf, size_t size)
{
	bson_iter_t it;

	if (bson_iter_init_find(&it, b, name) && BSON_ITER_HOLDS_UTF8(&it))
		snprintf(buf, size, "%s", bson_iter_utf8(&it, NULL));
}

static void decode(const bson_t *b, struct mongo_owner *ret)
{
	*ret = (struct mongo_owner){ .own = number(b, "own"),
		.beat = number(b, "beat"),
		.trimmed = number(b, "trimmed"),
		.who.pid = (int64_t)number(b, "pid") };
	text(b, "host", ret->who.host, sizeof(ret->who.host));
	text(b, "place", ret->who.place, sizeof(ret->who.place));
	text(b, "process", ret->process, sizeof(ret->process));
}

int owner_look(
	struct mongo *m, const struct uuid *stream, struct mongo_owner *ret)
{
	struct mongo_try t = mongo_try("owner of a stream");
	char id[33];
	bson_t *filter = BCON_NEW("_id", BCON_UTF8(stream_name(stream, id)));
	bson_error_t e;
	bool broken;
	int r;

	do {
		struct mongo_coll c = mongo_take(m, MONGO_OWNERS);
		mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(
			c.c, filter, NULL, NULL);
		const bson_t *b;

		r = -ENOENT;
		if (mongoc_cursor_next(cursor, &b)) {
			decode(b, ret);
			r = 0;
		}
		broken = r < 0 && mongoc_cursor_error(cursor, &e);
		mongoc_cursor_destroy(cursor);
		mongo_give(&c);
	} while (broken && mongo_again(m, &t, &e));
	bson_destroy(filter);
	return broken ? mongo_fail(m, &t, &e) : r;
}

struct ids vec(struct uuid);

static int add_id(struct ids *ids, const bson_t *b)
{
	struct uuid id;
	bson_iter_t it;

	if (!bson_iter_init_find(&it, b, "_id") || !BSON_ITER_HOLDS_UTF8(&it) ||
		!hex_decode(bson_iter_utf8(&it, NULL), id.b, sizeof(id.b)))
		return fail(EBADMSG, "owners: a document has no valid key");
	return vec_add(ids, id) < 0 ? fail(ENOMEM, "streams: %m") : 0;
}

static int read_ids(struct mongo *m, struct ids *ids)
{
	struct mongo_try t = mongo_try("streams");
	bson_t all = BSON_INITIALIZER;
	bson_t *opts = BCON_NEW("projection", "{", "_id", BCON_INT32(1), "}");
	bson_error_t e;
	bool broken;
	int r;

	do {
		struct mongo_coll c = mongo_take(m, MONGO_OWNERS);
		mongoc_cursor_t *cursor =
			mongoc_collection_find_with_opts(c.c, &all, opts, NULL);
		const bson_t *b;

		ids->n = 0;
		r = 0;
		while (r == 0 && mongoc_cursor_next(cursor, &b))
			r = add_id(ids, b);
		broken = r == 0 && mongoc_cursor_error(cursor, &e);
		mongoc_cursor_destroy(cursor);
		mongo_give(&c);
	} while (broken && mongo_again(m, &t, &e));
	bson_destroy(opts);
	return broken ? mongo_fail(m, &t, &e) : r;
}

int owner_list(struct mongo *m, int (*visit)(void *arg, const struct uuid *id),
	void *arg)
{
	struct ids ids = { 0 };
	int r = read_ids(m, &ids);

	for (size_t i = 0; r == 0 && i < ids.n; i++)
		r = visit(arg, &ids.v[i]);
	vec_fini(&ids);
	return r;
}

static void encode(bson_t *b, const char *id, uint64_t own, uint64_t trimmed,
	const struct stream_owner *who)
{
	char process[PROCESS_TEXT];

	process_text(process);
	bson_init(b);
	BSON_APPEND_UTF8(b, "_id", id);
	BSON_APPEND_INT64(b, "own", (int64_t)own);
	BSON_APPEND_INT64(b, "beat", 1);
	BSON_APPEND_INT64(b, "trimmed", (int64_t)trimmed);
	BSON_APPEND_UTF8(b, "host", who->host);
	BSON_APPEND_INT64(b, "pid", who->pid);
	BSON_APPEND_UTF8(b, "place", who->place);
	BSON_APPEND_UTF8(b, "process", process);
}

/* After nothing matched, or a duplicate: is it ours, the reply having been
 * lost? */
static int claimed(struct mongo *m, const struct uuid *stream, uint64_t own)
{
	struct mongo_owner now;
	int r = owner_look(m, stream, &now);

	if (r == -ENOENT)
		return -ESTALE;
	return r < 0 ? r : now.own == own ? 0 : -ESTALE;
}

int owner_claim(struct mongo *m, const struct uuid *stream,
	const struct mongo_owner *seen, uint64_t own,
	const struct stream_owner *who)
{
	struct mongo_try t = mongo_try("owner of a stream");
	char id[33];
	bson_t filter = BSON_INITIALIZER, to;
	bson_error_t e;
	bool ok, done = false;

	stream_name(stream, id);
	BSON_APPEND_UTF8(&filter, "_id", id);
	if (seen) {
		BSON_APPEND_INT64(&filter, "own", (int64_t)seen->own);
		BSON_APPEND_INT64(&filter, "beat", (int64_t)seen->beat);
	}
	encode(&to, id, own, seen ? seen->trimmed : 0, who);
	do {
		struct mongo_coll c = mongo_take(m, MONGO_OWNERS);
		bson_t reply;

		if (seen) {
			ok = mongoc_collection_replace_one(
				c.c, &filter, &to, NULL, &reply, &e);
			done = number(&reply, "matchedCount") > 0;
		} else {
			done = ok = mongoc_collection_insert_one(
				c.c, &to, NULL, &reply, &e);
			ok = ok || e.code == MONGOC_ERROR_DUPLICATE_KEY;
		}
		bson_destroy(&reply);
		mongo_give(&c);
	} while (!ok && mongo_again(m, &t, &e));
	bson_destroy(&filter);
	bson_destroy(&to);
	if (!ok)
		return mongo_fail(m, &t, &e);
	return done ? 0 : claimed(m, stream, own);
}

/* *ret_n: of documents that are ours still. */
static bool update(struct mongo *m, const struct uuid *stream, uint64_t own,
	const bson_t *change, uint64_t *ret_n, bson_error_t *e)
{
	struct mongo_coll c = mongo_take(m, MONGO_OWNERS);
	char id[33];
	bson_t *filter = BCON_NEW("_id", BCON_UTF8(stream_name(stream, id)),
		"own", BCON_INT64((int64_t)own));
	bson_t reply;
	bool ok = mongoc_collection_update_one(
		c.c, filter, change, NULL, &reply, e);

	*ret_n = number(&reply, "matchedCount");
	bson_destroy(&reply);
	bson_destroy(filter);
	mongo_give(&c);
	return ok;
}

int owner_beat(struct mongo *m, const struct uuid *stream, uint64_t own)
{
	bson_t *inc = BCON_NEW("$inc", "{", "beat", BCON_INT64(1), "}");
	bson_error_t e;
	uint64_t n;
	bool ok = update(m, stream, own, inc, &n, &e);

	bson_destroy(inc);
	if (!ok) {
		log_debug("mongo", "heartbeat: %s", e.message);
		return -EIO;
	}
	return n == 0;
}

void owner_release(struct mongo *m, const struct uuid *stream, uint64_t own)
{
	struct mongo_try t = mongo_try("release a stream");
	bson_t *set = BCON_NEW("$set", "{", "own", BCON_INT64(0), "}");
	bson_error_t e;
	uint64_t n;
	bool ok;

	do
		ok = update(m, stream, own, set, &n, &e);
	while (!ok && mongo_again(m, &t, &e));
	/* who finds it so finds the process dead, or silent */
	if (!ok)
		log_debug("mongo", "release: %s", e.message);
	bson_destroy(set);
}

int owner_trim(
	struct mongo *m, const struct uuid *stream, uint64_t own, uint64_t seq)
{
	struct mongo_try t = mongo_try("trim a stream");
	bson_t *set =
		BCON_NEW("$set", "{", "trimmed", BCON_INT64((int64_t)seq), "}");
	bson_error_t e;
	uint64_t n;
	bool ok;

	do
		ok = update(m, stream, own, set, &n, &e);
	while (!ok && mongo_again(m, &t, &e));
	bson_destroy(set);
	return !ok ? mongo_fail(m, &t, &e) : n ? 0 : -ESTALE;
}

int owner_forget(struct mongo *m, const struct uuid *stream, uint64_t own)
{
	struct mongo_try t = mongo_try("remove a stream");
	char id[33];
	bson_t *filter = BCON_NEW("_id", BCON_UTF8(stream_name(stream, id)),
		"own", BCON_INT64((int64_t)own));
	bson_error_t e;
	bool ok;

	do {
		struct mongo_coll c = mongo_take(m, MONGO_OWNERS);

		ok = mongoc_collection_delete_one(c.c, filter, NULL, NULL, &e);
		mongo_give(&c);
	} while (!ok && mongo_again(m, &t, &e));
	bson_destroy(filter);
	return ok ? 0 : mongo_fail(m, &t, &e);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/mongo_replay.h"

#include <errno.h>
#include <inttypes.h>

#include "repo/mongo_owner.h"
#include "src/bytes.h"
#include "src/log.h"

static bson_t *options(bool heads, int order, int64_t limit)
{
	/* at most 3 MiB each: not every server ends a reply by its size */
	bson_t *o = BCON_NEW("sort", "{", "_id", BCON_INT32(order), "}",
		"batchSize", BCON_INT32(heads ? 4096 : 12));

	if (limit)
		BSON_APPEND_INT64(o, "limit", limit);
	if (heads) {
		bson_t *p = BCON_NEW("projection", "{", "k", BCON_INT32(1),
			"at", BCON_INT32(1), "by", BCON_INT32(1), "n",
			BCON_INT32(1), "len", BCON_INT32(1), "}");

		bson_concat(o, p);
		bson_destroy(p);
	}
	return o;
}

static bson_t *range(const struct uuid *stream, uint64_t low, uint64_t high)
{
	char a[GROUP_ID], b[GROUP_ID];

	group_id(stream, low, a);
	group_id(stream, high, b);
	return BCON_NEW(
		"_id", "{", "$gte", BCON_UTF8(a), "$lte", BCON_UTF8(b), "}");
}

/* The first of a query. */
static int first_of(struct mongo *m, const struct uuid *stream,
	const bson_t *filter, const bson_t *opts, bool head, struct group *ret)
{
	struct mongo_try t = mongo_try(MONGO_STREAMS);
	bson_error_t e;
	bool broken;
	int r;

	do {
		struct mongo_coll c = mongo_take(m, MONGO_STREAMS);
		mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(
			c.c, filter, opts, NULL);
		const bson_t *b;

		r = mongoc_cursor_next(cursor, &b)
			    ? group_decode(b, stream, head, ret)
			    : -ENOENT;
		broken = r == -ENOENT && mongoc_cursor_error(cursor, &e);
		mongoc_cursor_destroy(cursor);
		mongo_give(&c);
	} while (broken && mongo_again(m, &t, &e));
	return broken ? mongo_fail(m, &t, &e) : r;
}

int replay_one(struct mongo *m, const struct uuid *stream, uint64_t seq,
	bool head, struct group *ret)
{
	bson_t *filter = range(stream, seq, seq);
	bson_t *opts = options(head, 1, 1);
	int r = first_of(m, stream, filter, opts, head, ret);

	bson_destroy(filter);
	bson_destroy(opts);
	return r;
}

/* To be told once it is known that it was not trimmed. */
static int missing(struct replay *w, uint64_t seq)
{
	w->gap = true;
	w->gap_at = seq;
	return -EBADMSG;
}

static int fail_missing(const struct replay *w)
{
	char text[UUID_TEXT];

	uuid_text(w->stream, text);
	if (w->gap_at == w->from)
		return fail(
			EBADMSG, "%s: stream %s: is missing", w->m->name, text);
	return fail(EBADMSG,
		"%s: stream %s: record %" PRIu64 " of epoch %" PRIu64
		" is missing",
		w->m->name, text, w->gap_at & STREAM_NUMBER_MAX,
		stream_epoch(w->gap_at));
}

/* Where the group begins that FROM is in, or ends with. */
static int find_start(struct replay *w)
{
	bson_t *filter = range(w->stream, 0, w->from);
	bson_t *opts = options(true, -1, 1);
	struct group g;
	int r = first_of(w->m, w->stream, filter, opts, true, &g);

	bson_destroy(filter);
	bson_destroy(opts);
	w->next = w->from;
	w->place = 0;
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0 && g.kind == STREAM_DATA && g.seq != w->from &&
		group_next(&g) > w->from) {
		w->next = g.seq;
	} else if (r == 0 && g.seq != w->from && group_next(&g) == w->from) {
		w->place = g.place + g.len;
	} else if ((r < 0 || g.seq != w->from) && w->from > 0 &&
		   w->from != w->trimmed) {
		return missing(w, w->from);
	}
	return 0;
}

/* 0 goes on, 1 the end */
static int take_group(struct replay *w, struct group *g)
{
	/* behind a takeover of its epoch: it came too late */
	if (g->seq < w->next) {
		group_fini(g);
		return 0;
	}
	if (g->seq > w->next) {
		group_fini(g);
		return missing(w, w->next);
	}
	w->next = group_next(g);
	w->place = g->place + g->len;
	w->last_by = g->by;
	return w->visit(w->arg, g);
}

static int take_all(struct replay *w, bson_error_t *ret_error, bool *ret_broken)
{
	uint64_t last = w->until ? w->until - 1 : UINT64_MAX;
	bson_t *filter = range(w->stream, w->next, last);
	bson_t *opts = options(w->heads, 1, 0);
	struct mongo_coll c = mongo_take(w->m, MONGO_STREAMS);
	mongoc_cursor_t *cursor =
		mongoc_collection_find_with_opts(c.c, filter, opts, NULL);
	const bson_t *b;
	int r = 0;

	while (r == 0 && mongoc_cursor_next(cursor, &b)) {
		struct group g;

		r = group_decode(b, w->stream, w->heads, &g);
		if (r == 0)
			r = take_group(w, &g);
	}
	*ret_broken = r == 0 && mongoc_cursor_error(cursor, ret_error);
	mongoc_cursor_destroy(cursor);
	mongo_give(&c);
	bson_destroy(filter);
	bson_destroy(opts);
	return r;
}

/* Was what we look for trimmed, before or meanwhile? */
static int was_trimmed(struct replay *w)
{
	struct mongo_owner o;
	int r = owner_look(w->m, w->stream, &o);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	w->trimmed = o.trimmed;
	return o.trimmed > w->from ? -ESTALE : 0;
}

int replay(struct replay *w)
{
	struct mongo_try t = mongo_try(MONGO_STREAMS);
	bson_error_t e;
	bool broken = false;
	int r = was_trimmed(w);

	if (r == 0)
		r = find_start(w);
	if (r == 0) {
		do {
			uint64_t before = w->next;

			r = take_all(w, &e, &broken);
			if (broken && w->next != before)
				t = mongo_try(t.what); /* it gets on */
		} while (broken && mongo_again(w->m, &t, &e));
	}
	if (broken)
		return mongo_fail(w->m, &t, &e);
	if (r == -EBADMSG || r == 0) {
		int trimmed = was_trimmed(w);

		if (trimmed < 0)
			return trimmed;
	}
	return w->gap && r == -EBADMSG ? fail_missing(w) : r;
}

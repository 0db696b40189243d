/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/stream_mongo.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "repo/mongo_owner.h"
#include "repo/mongo_replay.h"
#include "repo/mongo_sender.h"
#include "repo/stream_ops.h"
#include "src/bytes.h"
#include "src/log.h"

/* Others that try at the same time are few, and one of them gets it. */
#define ATTEMPTS 32u

struct mongo_stream {
	struct stream base;
	struct mongo *m;
	struct uuid id;
	struct groups groups;
	uint64_t next; /* of one that was peeked at */
	uint64_t own;  /* 0: it is not ours */
	bool sends;
	struct sender sender;
	pthread_mutex_t trim; /* before the locks of the others */
	/* while it is opened */
	uint64_t from;
	stream_visit visit;
	void *arg;
};

static inline struct mongo_stream *mongo_stream_of(const struct stream *st)
{
	return (struct mongo_stream *)(uintptr_t)st;
}

static int append(struct stream *st, const struct iovec *iov, int n_iov,
	uint32_t len, uint64_t *ret_seq, uint64_t *ret_place)
{
	struct mongo_stream *e = mongo_stream_of(st);

	assert(e->sends);
	return sender_append(&e->sender, iov, n_iov, len, ret_seq, ret_place);
}

static int sync_all(struct stream *st)
{
	struct mongo_stream *e = mongo_stream_of(st);

	return e->sends ? sender_sync(&e->sender) : 0;
}

/* What is appended is on its way at once. */
static void flush(struct stream *st)
{
	(void)st;
}

static uint64_t next(const struct stream *st)
{
	struct mongo_stream *e = mongo_stream_of(st);

	return e->sends ? sender_next(&e->sender) : e->next;
}

static int read_at(struct stream *st, uint64_t place, void *buf, size_t len)
{
	struct mongo_stream *e = mongo_stream_of(st);
	uint64_t seq;
	int r;

	while ((r = groups_read(&e->groups, place, buf, len, &seq)) == 1) {
		struct group g;

		r = replay_one(e->m, &e->id, seq, false, &g);
		if (r < 0)
			return r;
		groups_fill(&e->groups, &g);
	}
	return r;
}

/* All records, or those before a sequence number; takeovers: if ALL. */
static int remove_groups(
	struct mongo *m, const struct uuid *id, uint64_t before, bool all)
{
	struct mongo_try t = mongo_try(MONGO_STREAMS);
	bson_t filter = BSON_INITIALIZER, range;
	char low[GROUP_ID], high[GROUP_ID];
	bson_error_t e;
	bool ok;

	group_id(id, 0, low);
	group_id(id, before, high);
	BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &range);
	BSON_APPEND_UTF8(&range, "$gte", low);
	BSON_APPEND_UTF8(&range, all ? "$lte" : "$lt", high);
	bson_append_document_end(&filter, &range);
	if (!all)
		BSON_APPEND_INT32(&filter, "k", STREAM_DATA);
	do {
		struct mongo_coll c = mongo_take(m, MONGO_STREAMS);

		ok = mongoc_collection_delete_many(
			c.c, &filter, NULL, NULL, &e);
		mongo_give(&c);
	} while (!ok && mongo_again(m, &t, &e));
	bson_destroy(&filter);
	return ok ? 0 : mongo_fail(m, &t, &e);
}

static int trim(struct stream *st, uint64_t seq)
{
	struct mongo_stream *e = mongo_stream_of(st);
	uint64_t boundary;
	int r;

	assert(e->sends);
	pthread_mutex_lock(&e->trim);
	boundary = groups_boundary(&e->groups, seq);
	/* said first, so that nobody takes what is gone for damage */
	r = owner_trim(e->m, &e->id, e->own, boundary);
	if (r == 0)
		r = remove_groups(e->m, &e->id, boundary, false);
	if (r == 0)
		groups_trim(&e->groups, boundary);
	pthread_mutex_unlock(&e->trim);
	return r;
}

static uint64_t bytes(const struct stream *st)
{
	return groups_bytes(&mongo_stream_of(st)->groups);
}

static void close_it(struct stream *st)
{
	struct mongo_stream *e = mongo_stream_of(st);

	if (e->sends)
		sender_end(&e->sender);
	if (e->own)
		owner_release(e->m, &e->id, e->own);
	groups_fini(&e->groups);
	pthread_mutex_destroy(&e->trim);
	free(e);
}

static const struct stream_ops ops = {
	.append = append,
	.flush = flush,
	.sync = sync_all,
	.next = next,
	.read = read_at,
	.trim = trim,
	.bytes = bytes,
	.close = close_it,
};

static struct mongo_stream *stream_new(struct store *s, const struct uuid *id,
	uint64_t from, stream_visit visit, void *arg)
{
	struct mongo_stream *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->base.ops = &ops;
	e->m = mongo_of(s);
	e->id = *id;
	e->from = from;
	e->visit = visit;
	e->arg = arg;
	groups_init(&e->groups);
	pthread_mutex_init(&e->trim, NULL);
	return e;
}

/* Records before FROM are in a group that has later ones, too. */
static int visit_records(struct mongo_stream *e, const struct group *g)
{
	uint64_t place = g->place;
	const uint8_t *p = g->data;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < g->n; i++) {
		uint32_t len = get_le32(g->lens + 4 * (size_t)i);

		if (g->seq + i >= e->from)
			r = e->visit(e->arg, g->seq + i, place, p, len);
		place += len;
		p += len;
	}
	return r;
}

static int take_records(void *arg, struct group *g)
{
	struct mongo_stream *e = arg;
	int r = visit_records(e, g);

	if (r == 0 && g->n)
		r = groups_add(&e->groups, g);
	group_fini(g);
	return r;
}

static int take_head(void *arg, struct group *g)
{
	(void)arg;
	group_fini(g);
	return 0;
}

static int busy(const struct mongo *m, const struct uuid *id,
	const struct mongo_owner *o)
{
	char text[UUID_TEXT];

	return fail(EBUSY,
		"%s: stream %s: is in use by %s, process %" PRId64 ", %s",
		m->name, uuid_text(id, text), o->who.host, o->who.pid,
		o->who.place);
}

/* The document says that it is ours; -ESTALE: another was faster. */
static int claim(struct mongo *m, const struct uuid *id, bool create,
	const struct stream_owner *owner, uint64_t own)
{
	struct mongo_owner o;
	int r = owner_look(m, id, &o);

	if (r == -ENOENT)
		return create ? owner_claim(m, id, NULL, own, owner) : r;
	if (r < 0)
		return r;
	if (owner_alive(m, id, &o))
		return busy(m, id, &o);
	return owner_claim(m, id, &o, own, owner);
}

/*
 * The takeover at the very place where the replay ends; it holds only if a new
 * replay comes to it. *ret: the takeover. -ESTALE: start over.
 */
static int try_takeover(struct mongo_stream *e,
	const struct stream_owner *owner, struct group *ret)
{
	struct replay w = { .m = e->m,
		.stream = &e->id,
		.from = e->from,
		.heads = true,
		.visit = take_head };
	struct replay again = w;
	int r = replay(&w);

	if (r < 0)
		return r;
	if (stream_epoch(w.next) == STREAM_EPOCH_MAX)
		return fail(EIO, "%s: a stream was taken over too often",
			e->m->name);
	*ret = (struct group){ .kind = STREAM_TAKEOVER,
		.seq = w.next,
		.place = w.place,
		.by = e->own };
	r = group_insert(e->m, &e->id, ret, owner);
	if (r == 0)
		r = replay(&again);
	else if (r == -EEXIST)
		r = -EAGAIN;
	if (r == 0 &&
		(again.next != group_next(ret) || again.last_by != e->own))
		r = -EAGAIN;
	return r;
}

static int take_over(struct mongo_stream *e, const struct stream_owner *owner,
	struct group *ret)
{
	uint64_t own = random_u64() | 1;
	int r = -EAGAIN;

	for (unsigned i = 0; r == -EAGAIN && i < ATTEMPTS; i++) {
		r = claim(e->m, &e->id, e->from == 0, owner, own);
		if (r == -ESTALE) {
			r = -EAGAIN;
			continue;
		}
		if (r < 0)
			return r;
		e->own = own;
		r = try_takeover(e, owner, ret);
		if (r == -EAGAIN) {
			owner_release(e->m, &e->id, own);
			e->own = 0;
		}
	}
	return r == -EAGAIN
		       ? fail(EBUSY,
				 "%s: a stream is being taken over by others",
				 e->m->name)
		       : r;
}

static int begin(struct mongo_stream *e, const struct stream_owner *owner)
{
	struct replay w = { .m = e->m,
		.stream = &e->id,
		.from = e->from,
		.visit = take_records,
		.arg = e };
	struct group takeover;
	int r = take_over(e, owner, &takeover);

	if (r < 0)
		return r;
	w.until = takeover.seq;
	if (takeover.seq > 0)
		r = replay(&w);
	if (r == 0) {
		r = sender_begin(&e->sender, e->m, &e->id, &e->groups, e->own,
			group_next(&takeover), takeover.place);
		e->sends = r == 0;
	}
	return r;
}

static int no_records(const struct mongo *m, const struct uuid *id)
{
	char text[UUID_TEXT];

	return fail(EBADMSG, "%s: stream %s: is missing", m->name,
		uuid_text(id, text));
}

int mongo_stream_open(struct store *s, const struct uuid *id, uint64_t from,
	const struct stream_owner *owner, stream_visit visit, void *arg,
	struct stream **ret)
{
	struct mongo_stream *e;
	int r = mongo_writable(mongo_of(s));

	if (r < 0)
		return r;
	e = stream_new(s, id, from, visit, arg);
	if (!e)
		return fail(ENOMEM, "stream: %m");
	r = begin(e, owner);
	if (r == -ENOENT)
		r = no_records(e->m, id);
	if (r != 0)
		close_it(&e->base);
	else
		*ret = &e->base;
	return r;
}

int mongo_stream_peek(struct store *s, const struct uuid *id, uint64_t from,
	stream_visit visit, void *arg, struct stream **ret)
{
	struct mongo_stream *e = stream_new(s, id, from, visit, arg);
	struct replay w = { .m = mongo_of(s),
		.stream = id,
		.from = from,
		.visit = take_records,
		.arg = e };
	int r;

	if (!e)
		return fail(ENOMEM, "stream: %m");
	r = replay(&w);
	e->next = w.next;
	if (r != 0)
		close_it(&e->base);
	else
		*ret = &e->base;
	return r;
}

int mongo_stream_owner(
	struct store *s, const struct uuid *id, struct stream_owner *ret)
{
	struct mongo_owner o;
	int r = owner_look(mongo_of(s), id, &o);

	if (r < 0)
		return r;
	if (!owner_alive(mongo_of(s), id, &o))
		return -ENOENT;
	*ret = o.who;
	return 0;
}

int mongo_stream_list(struct store *s,
	int (*visit)(void *arg, const struct uuid *id), void *arg)
{
	return owner_list(mongo_of(s), visit, arg);
}

int mongo_stream_remove(struct store *s, const struct uuid *id)
{
	static const struct stream_owner nobody = { .place = "being removed" };
	struct mongo *m = mongo_of(s);
	uint64_t own = random_u64() | 1;
	int r = mongo_writable(m);

	if (r == 0)
		do
			r = claim(m, id, false, &nobody, own);
		while (r == -ESTALE);
	if (r == 0)
		r = remove_groups(m, id, UINT64_MAX, true);
	return r < 0 ? r : owner_forget(m, id, own);
}

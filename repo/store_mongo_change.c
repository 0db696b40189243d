/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many changes at a time. A message of several replacements or removals is
 * answered with how many of them matched, not with which: so what cannot match
 * is found out before it is sent, and where something else came in between, or
 * a reply was lost, what is there afterwards tells.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "repo/mongo.h"
#include "repo/mongo_doc.h"
#include "repo/store_mongo.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/pool.h"

/* Threads that make single changes: each waits for a reply most of the time. */
#define CHANGERS 8u

/* Fewer are made one by one. */
#define MESSAGE_LEAST 4u
#define MESSAGE_CHANGES 1000u
#define MESSAGE_BYTES (12u << 20)

static int change_one(struct store *s, const struct store_change *ch)
{
	if (!ch->doc)
		return mongo_remove(s, ch->coll, &ch->key, ch->old_version);
	return ch->insert ? mongo_insert(s, ch->doc)
			  : mongo_replace(s, ch->doc, ch->old_version);
}

static enum coll coll_of(const struct store_change *ch)
{
	return ch->doc ? ch->doc->coll : ch->coll;
}

static const struct key *key_at(const struct store_change *ch)
{
	return ch->doc ? &ch->doc->key : &ch->key;
}

static bool is_alike(const struct store_change *a, const struct store_change *b)
{
	return coll_of(a) == coll_of(b) && !a->doc == !b->doc &&
	       a->insert == b->insert;
}

struct changes {
	struct store *s;
	struct store_change *v;
	size_t n;
	unsigned lanes;
};

/* All changes of one document are in one lane, so they keep their order. */
static unsigned lane(const struct store_change *ch, unsigned lanes)
{
	const struct key *key = key_at(ch);
	unsigned h = 0;

	for (unsigned i = 0; i < key->len; i++)
		h = h * 31 + key->b[i];
	return h % lanes;
}

static int change_lane(void *arg, uint64_t number, unsigned thread)
{
	struct changes *all = arg;

	(void)thread;
	for (size_t i = 0; i < all->n; i++) {
		struct store_change *ch = &all->v[i];
		int r;

		if (lane(ch, all->lanes) != number)
			continue;
		r = ch->err = change_one(all->s, ch);
		if (r < 0 && r != -EEXIST && r != -ENOENT && r != -ESTALE)
			return r;
	}
	return 0;
}

/* Changes of one kind and collection, in one message. */
struct message {
	struct mongo *m;
	enum coll c;
	size_t n;
	struct store_change *v[MESSAGE_CHANGES];
	struct key keys[MESSAGE_CHANGES];
	struct mongo_row rows[MESSAGE_CHANGES]; /* what is there */
	uint64_t by[MESSAGE_CHANGES];
};

static int insert_them(struct message *msg)
{
	const struct doc *docs[MESSAGE_CHANGES];
	bool dup[MESSAGE_CHANGES];
	int r;

	for (size_t i = 0; i < msg->n; i++)
		docs[i] = msg->v[i]->doc;
	r = mongo_insert_docs(msg->m, msg->c, docs, msg->n, dup);
	for (size_t i = 0; r == 0 && i < msg->n; i++)
		msg->v[i]->err = dup[i] ? -EEXIST : 0;
	return r;
}

static int look(struct message *msg)
{
	return mongo_heads(msg->m, msg->c, msg->keys, msg->n, msg->rows);
}

/* Those that can match; the others are told. Keys and numbers stay in step. */
static void leave_out(struct message *msg)
{
	size_t n = 0;

	for (size_t i = 0; i < msg->n; i++) {
		const struct doc *there = &msg->rows[i].doc;
		struct store_change *ch = msg->v[i];

		if (there->key.len && there->version == ch->old_version) {
			msg->keys[n] = msg->keys[i];
			msg->v[n++] = ch;
		} else {
			ch->err = there->key.len ? -ESTALE : -ENOENT;
		}
	}
	msg->n = n;
}

static void add(
	mongoc_bulk_operation_t *bulk, const struct message *msg, size_t i)
{
	const struct store_change *ch = msg->v[i];
	bson_t which = BSON_INITIALIZER, to;

	mongo_id_append(&which, "_id", msg->c, &msg->keys[i]);
	BSON_APPEND_INT64(&which, "v", (int64_t)ch->old_version);
	if (ch->doc) {
		mongo_doc_encode(ch->doc, msg->by[i], &to);
		mongoc_bulk_operation_replace_one_with_opts(
			bulk, &which, &to, NULL, NULL);
		bson_destroy(&to);
	} else {
		mongoc_bulk_operation_remove_one_with_opts(
			bulk, &which, NULL, NULL);
	}
	bson_destroy(&which);
}

static int64_t count(const bson_t *reply, const char *name)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, reply, name) ? bson_iter_as_int64(&it)
						     : 0;
}

/* 1: each of them matched, and was made by this very message. */
static int send_them(struct message *msg)
{
	struct mongo_try t = mongo_try(coll_name(msg->c));
	bson_t opts = BSON_INITIALIZER;
	size_t matched = 0;
	bson_error_t e;
	bool ok;

	BSON_APPEND_BOOL(&opts, "ordered", false);
	do {
		struct mongo_coll mc = mongo_take(msg->m, coll_name(msg->c));
		mongoc_bulk_operation_t *bulk =
			mongoc_collection_create_bulk_operation_with_opts(
				mc.c, &opts);
		bson_t reply;

		for (size_t i = 0; i < msg->n; i++)
			add(bulk, msg, i);
		ok = mongoc_bulk_operation_execute(bulk, &reply, &e) != 0;
		matched = (size_t)(count(&reply, "nMatched") +
				   count(&reply, "nRemoved"));
		bson_destroy(&reply);
		mongoc_bulk_operation_destroy(bulk);
		mongo_give(&mc);
	} while (!ok && mongo_again(msg->m, &t, &e));
	bson_destroy(&opts);
	if (!ok)
		return mongo_fail(msg->m, &t, &e);
	return t.n == 0 && matched == msg->n;
}

/* What is gone is gone, whoever removed it. */
static int outcome(const struct store_change *ch, const struct mongo_row *there,
	uint64_t by)
{
	if (there->doc.key.len == 0)
		return ch->doc ? -ENOENT : 0;
	return ch->doc && there->doc.version == ch->doc->version &&
			       there->by == by
		       ? 0
		       : -ESTALE;
}

static int change_them(struct message *msg)
{
	int r = look(msg);

	if (r < 0)
		return r;
	leave_out(msg);
	for (size_t i = 0; i < msg->n; i++) {
		msg->v[i]->err = 0;
		msg->by[i] = mongo_is_content(msg->c) ? 0 : random_u64();
	}
	r = msg->n ? send_them(msg) : 1;
	if (r != 0)
		return r < 0 ? r : 0;
	r = look(msg);
	for (size_t i = 0; r == 0 && i < msg->n; i++)
		msg->v[i]->err = outcome(msg->v[i], &msg->rows[i], msg->by[i]);
	return r;
}

/* As many as are alike from I on; returns how many. */
static size_t gather(
	struct message *msg, struct store_change **sorted, size_t n, size_t i)
{
	size_t bytes = 0;

	msg->c = coll_of(sorted[i]);
	for (msg->n = 0; i + msg->n < n && msg->n < MESSAGE_CHANGES &&
			 is_alike(sorted[i], sorted[i + msg->n]) &&
			 bytes < MESSAGE_BYTES;
		msg->n++) {
		struct store_change *ch = sorted[i + msg->n];

		bytes += ch->doc ? ch->doc->len : 0;
		msg->v[msg->n] = ch;
		msg->keys[msg->n] = *key_at(ch);
	}
	return msg->n;
}

/* By collection and key: changes of one document come together. */
static int by_key(const void *a, const void *b)
{
	const struct store_change *x = *(struct store_change *const *)a;
	const struct store_change *y = *(struct store_change *const *)b;
	const struct key *k = key_at(x), *l = key_at(y);
	int r = (int)coll_of(x) - (int)coll_of(y);

	if (r == 0)
		r = memcmp(k->b, l->b, MIN_OF(k->len, l->len));
	return r ? r : k->len - l->len;
}

static bool has_twice(struct store_change **sorted, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (by_key(&sorted[i - 1], &sorted[i]) == 0)
			return true;
	return false;
}

/* Then kind by kind, the rest of the order does not matter. */
static int by_kind(const void *a, const void *b)
{
	const struct store_change *x = *(struct store_change *const *)a;
	const struct store_change *y = *(struct store_change *const *)b;
	int r = (int)coll_of(x) - (int)coll_of(y);

	if (r == 0)
		r = (int)!x->doc - (int)!y->doc;
	return r ? r : (int)x->insert - (int)y->insert;
}

static int change_by_message(
	struct mongo *m, struct store_change **sorted, size_t n)
{
	scoped(freep) struct message *msg = malloc(sizeof(*msg));
	int r = 0;

	if (!msg)
		return fail(ENOMEM, "changes: %m");
	msg->m = m;
	qsort(sorted, n, sizeof(struct store_change *), by_kind);
	for (size_t i = 0; r == 0 && i < n;) {
		i += gather(msg, sorted, n, i);
		r = msg->v[0]->insert ? insert_them(msg) : change_them(msg);
	}
	return r;
}

int mongo_change_many(struct store *s, struct store_change *changes, size_t n)
{
	scoped(freep) struct store_change **sorted =
		/* NOLINTNEXTLINE(bugprone-sizeof-expression): of pointers */
		calloc(n + 1, sizeof(*sorted));
	struct changes all = { .s = s,
		.v = changes,
		.n = n,
		.lanes = n < 2 * CHANGERS ? 1 : CHANGERS };
	int r = mongo_writable(mongo_of(s));

	if (r < 0)
		return r;
	if (!sorted)
		return fail(ENOMEM, "changes: %m");
	for (size_t i = 0; i < n; i++)
		sorted[i] = &changes[i];
	qsort(sorted, n, sizeof(struct store_change *), by_key);
	if (n >= MESSAGE_LEAST && !has_twice(sorted, n))
		return change_by_message(mongo_of(s), sorted, n);
	return parallel_for(all.lanes, all.lanes, change_lane, &all);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "repo/mongo.h"
#include "repo/mongo_doc.h"
#include "repo/store_mongo.h"
#include "src/bytes.h"
#include "src/log.h"

/* of one message; a server takes 48 MB and 100,000 documents */
#define MESSAGE_BYTES (12u << 20)
#define MESSAGE_DOCS 1000u

#define DUPLICATE_KEY 11000

/* What is under a document's key, to tell ours from another's. */
struct there {
	uint64_t version, by;
};

/* -ENOENT, quietly. */
static int look(
	struct mongo *m, enum coll c, const struct key *key, struct there *ret)
{
	struct mongo_try t = mongo_try(coll_name(c));
	bson_t *opts = BCON_NEW("projection", "{", "v", BCON_INT32(1), "g",
		BCON_INT32(1), "n", BCON_INT32(1), "by", BCON_INT32(1), "}");
	bson_t filter = BSON_INITIALIZER;
	bson_error_t e;
	bool broken;
	int r;

	mongo_id_append(&filter, "_id", c, key);
	do {
		struct mongo_coll mc = mongo_take(m, coll_name(c));
		mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(
			mc.c, &filter, opts, NULL);
		const bson_t *b;
		struct mongo_row row;

		r = -ENOENT;
		if (mongoc_cursor_next(cursor, &b)) {
			r = mongo_doc_decode(b, c, true, &row);
			ret->version = row.doc.version;
			ret->by = row.by;
		}
		broken = r == -ENOENT && mongoc_cursor_error(cursor, &e);
		mongoc_cursor_destroy(cursor);
		mongo_give(&mc);
	} while (broken && mongo_again(m, &t, &e));
	bson_destroy(&filter);
	bson_destroy(opts);
	return broken ? mongo_fail(m, &t, &e) : r;
}

/*
 * Which documents of a message were refused as duplicates. True if nothing else
 * went wrong. Only the list of errors counts: some servers count duplicates
 * among what they inserted.
 */
static bool only_duplicates(const bson_t *reply, bool *dup, size_t n)
{
	bson_iter_t it, list, one;

	if (bson_iter_init_find(&it, reply, "writeConcernErrors"))
		return false;
	if (!bson_iter_init_find(&it, reply, "writeErrors") ||
		!bson_iter_recurse(&it, &list))
		return false;
	while (bson_iter_next(&list)) {
		int64_t index = -1, code = 0;

		if (!bson_iter_recurse(&list, &one))
			return false;
		while (bson_iter_next(&one)) {
			if (strcmp(bson_iter_key(&one), "index") == 0)
				index = bson_iter_as_int64(&one);
			else if (strcmp(bson_iter_key(&one), "code") == 0)
				code = bson_iter_as_int64(&one);
		}
		if (code != DUPLICATE_KEY || index < 0 || (size_t)index >= n)
			return false;
		dup[index] = true;
	}
	return true;
}

/* Documents of one collection, in one message. */
struct message {
	enum coll c;
	const struct doc **docs;
	uint64_t *by;
	bson_t *bson;
	const bson_t **list;
	bool *dup;
	size_t n;
};

static void message_fini(struct message *msg)
{
	for (size_t i = 0; msg->bson && i < msg->n; i++)
		bson_destroy(&msg->bson[i]);
	free(msg->bson);
	free(msg->list);
	free(msg->dup);
	free(msg->by);
}

static int message_encode(struct message *msg)
{
	msg->bson = calloc(msg->n, sizeof(*msg->bson));
	msg->list = calloc(msg->n, sizeof(*msg->list));
	msg->dup = calloc(msg->n, sizeof(*msg->dup));
	msg->by = calloc(msg->n, sizeof(*msg->by));
	if (!msg->bson || !msg->list || !msg->dup || !msg->by) {
		free(take(msg->bson));
		return fail(ENOMEM, "%s: %m", coll_name(msg->c));
	}
	for (size_t i = 0; i < msg->n; i++) {
		msg->by[i] = random_u64();
		mongo_doc_encode(msg->docs[i], msg->by[i], &msg->bson[i]);
		msg->list[i] = &msg->bson[i];
	}
	return 0;
}

/* After a lost reply, a document that is there may be ours. */
static int settle(struct mongo *m, const struct message *msg)
{
	scoped(freep) struct key *keys = calloc(msg->n, sizeof(*keys));
	scoped(freep) struct mongo_row *rows = calloc(msg->n, sizeof(*rows));
	int r;

	if (!keys || !rows)
		return fail(ENOMEM, "%s: %m", coll_name(msg->c));
	for (size_t i = 0; i < msg->n; i++)
		keys[i] = msg->docs[i]->key;
	r = mongo_heads(m, msg->c, keys, msg->n, rows);
	for (size_t i = 0; r == 0 && i < msg->n; i++)
		if (msg->dup[i] && rows[i].doc.key.len &&
			rows[i].doc.version == msg->docs[i]->version &&
			(mongo_is_content(msg->c) || rows[i].by == msg->by[i]))
			msg->dup[i] = false;
	return r;
}

static int message_send(struct mongo *m, struct message *msg)
{
	struct mongo_try t = mongo_try(coll_name(msg->c));
	bson_t *opts = BCON_NEW("ordered", BCON_BOOL(false));
	bson_error_t e;
	bool ok;

	do {
		struct mongo_coll mc = mongo_take(m, coll_name(msg->c));
		bson_t reply;

		memset(msg->dup, 0, msg->n);
		ok = mongoc_collection_insert_many(
			     mc.c, msg->list, msg->n, opts, &reply, &e) ||
		     only_duplicates(&reply, msg->dup, msg->n);
		bson_destroy(&reply);
		mongo_give(&mc);
	} while (!ok && mongo_again(m, &t, &e));
	bson_destroy(opts);
	if (!ok)
		return mongo_fail(m, &t, &e);
	return t.n ? settle(m, msg) : 0;
}

int mongo_insert_docs(struct mongo *m, enum coll c, const struct doc **docs,
	size_t n, bool *ret_dup)
{
	struct message msg = { .c = c, .docs = docs, .n = n };
	int r = message_encode(&msg);

	if (r == 0)
		r = message_send(m, &msg);
	if (r == 0)
		memcpy(ret_dup, msg.dup, n);
	message_fini(&msg);
	return r;
}

/* Those of collection C from *I on, as many as a message holds. */
static size_t gather(const struct doc *docs, size_t n, enum coll c, size_t *i,
	const struct doc **ret, size_t *ret_at)
{
	size_t k = 0, bytes = 0;

	for (; *i < n && k < MESSAGE_DOCS && bytes < MESSAGE_BYTES; ++*i) {
		if (docs[*i].coll != c)
			continue;
		/* but a large one goes alone rather than over the limit */
		if (k > 0 && bytes + docs[*i].len > MESSAGE_BYTES)
			break;
		bytes += docs[*i].len;
		ret_at[k] = *i;
		ret[k++] = &docs[*i];
	}
	return k;
}

int mongo_insert_many(
	struct store *s, const struct doc *docs, size_t n, bool *ret_inserted)
{
	static const enum coll colls[] = { COLL_CHUNKS, COLL_MAPS };
	const struct doc *some[MESSAGE_DOCS];
	size_t at[MESSAGE_DOCS];
	bool dup[MESSAGE_DOCS];
	struct mongo *m = mongo_of(s);
	int r = mongo_writable(m);

	for (unsigned c = 0; c < N_ELEMS(colls); c++) {
		for (size_t i = 0; r == 0 && i < n;) {
			size_t k = gather(docs, n, colls[c], &i, some, at);

			if (k > 0)
				r = mongo_insert_docs(
					m, colls[c], some, k, dup);
			for (size_t j = 0; r == 0 && j < k; j++)
				ret_inserted[at[j]] = !dup[j];
		}
	}
	return r;
}

int mongo_insert(struct store *s, const struct doc *doc)
{
	struct mongo *m = mongo_of(s);
	bool dup;
	int r = mongo_writable(m);

	if (r == 0)
		r = mongo_insert_docs(m, doc->coll, &doc, 1, &dup);
	return r < 0 ? r : dup ? -EEXIST : 0;
}

static int64_t field(const bson_t *reply, const char *name)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, reply, name) ? bson_iter_as_int64(&it)
						     : 0;
}

static void select_version(
	bson_t *b, enum coll c, const struct key *key, uint64_t version)
{
	bson_init(b);
	mongo_id_append(b, "_id", c, key);
	BSON_APPEND_INT64(b, "v", (int64_t)version);
}

/*
 * Nothing matched: why? Or was it we, and the reply was lost? OURS is what
 * would be there then; NULL: nothing.
 */
static int unmatched(struct mongo *m, enum coll c, const struct key *key,
	const struct there *ours, const struct mongo_try *t)
{
	struct there there;
	int r = look(m, c, key, &there);

	if (r == -ENOENT && !ours && t->n)
		return 0;
	if (r < 0)
		return r;
	return ours && t->n && there.version == ours->version &&
			       there.by == ours->by
		       ? 0
		       : -ESTALE;
}

int mongo_replace(struct store *s, const struct doc *doc, uint64_t old_version)
{
	struct mongo *m = mongo_of(s);
	struct mongo_try t = mongo_try(coll_name(doc->coll));
	struct there ours = { .version = doc->version,
		.by = mongo_is_content(doc->coll) ? 0 : random_u64() };
	bson_t filter, to;
	bson_error_t e;
	int64_t n = 0;
	bool ok;
	int r = mongo_writable(m);

	if (r < 0)
		return r;
	select_version(&filter, doc->coll, &doc->key, old_version);
	mongo_doc_encode(doc, ours.by, &to);
	do {
		struct mongo_coll mc = mongo_take(m, coll_name(doc->coll));
		bson_t reply;

		ok = mongoc_collection_replace_one(
			mc.c, &filter, &to, NULL, &reply, &e);
		n = field(&reply, "matchedCount");
		bson_destroy(&reply);
		mongo_give(&mc);
	} while (!ok && mongo_again(m, &t, &e));
	bson_destroy(&filter);
	bson_destroy(&to);
	if (!ok)
		return mongo_fail(m, &t, &e);
	return n ? 0 : unmatched(m, doc->coll, &doc->key, &ours, &t);
}

int mongo_remove(
	struct store *s, enum coll c, const struct key *key, uint64_t version)
{
	struct mongo *m = mongo_of(s);
	struct mongo_try t = mongo_try(coll_name(c));
	bson_t filter;
	bson_error_t e;
	int64_t n = 0;
	bool ok;
	int r = mongo_writable(m);

	if (r < 0)
		return r;
	select_version(&filter, c, key, version);
	do {
		struct mongo_coll mc = mongo_take(m, coll_name(c));
		bson_t reply;

		ok = mongoc_collection_delete_one(
			mc.c, &filter, NULL, &reply, &e);
		n = field(&reply, "deletedCount");
		bson_destroy(&reply);
		mongo_give(&mc);
	} while (!ok && mongo_again(m, &t, &e));
	bson_destroy(&filter);
	if (!ok)
		return mongo_fail(m, &t, &e);
	return n ? 0 : unmatched(m, c, key, NULL, &t);
}

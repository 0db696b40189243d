/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/store_mongo.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "repo/mongo.h"
#include "repo/stream_mongo.h"
#include "src/bytes.h"
#include "src/log.h"

/* The document that says that there is a store. */
#define STORE_COLL "hivefs"
#define STORE_ID "store"
#define STORE_FORMAT 1

bool mongo_is_url(const char *url)
{
	return strncmp(url, "mongodb://", 10) == 0 ||
	       strncmp(url, "mongodb+srv://", 14) == 0;
}

static int parse_marker(
	const struct mongo *m, const bson_t *b, struct uuid *ret)
{
	const uint8_t *data;
	bson_iter_t it;
	uint32_t n;

	if (!bson_iter_init_find(&it, b, "format") ||
		!BSON_ITER_HOLDS_INT32(&it))
		return fail(EBADMSG, "%s: the document %s of %s is damaged",
			m->name, STORE_ID, STORE_COLL);
	if (bson_iter_int32(&it) != STORE_FORMAT)
		return fail(EPROTONOSUPPORT,
			"%s: is of format %" PRId32
			", made by a newer hivefs; this one knows %d",
			m->name, bson_iter_int32(&it), STORE_FORMAT);
	if (!bson_iter_init_find(&it, b, "uuid") ||
		!BSON_ITER_HOLDS_BINARY(&it))
		n = 0;
	else
		bson_iter_binary(&it, NULL, &n, &data);
	if (n != sizeof(ret->b))
		return fail(EBADMSG, "%s: the document %s of %s is damaged",
			m->name, STORE_ID, STORE_COLL);
	memcpy(ret->b, data, sizeof(ret->b));
	return 0;
}

/* One try. *ret_broken: of a query that broke off; the return value is 0 then.
 */
static int query_marker(struct mongo *m, struct uuid *ret,
	bson_error_t *ret_error, bool *ret_broken)
{
	struct mongo_coll c = mongo_take(m, STORE_COLL);
	bson_t *filter = BCON_NEW("_id", BCON_UTF8(STORE_ID));
	mongoc_cursor_t *cursor =
		mongoc_collection_find_with_opts(c.c, filter, NULL, NULL);
	const bson_t *b;
	int r = 0;

	*ret_broken = false;
	if (mongoc_cursor_next(cursor, &b))
		r = parse_marker(m, b, ret);
	else if (mongoc_cursor_error(cursor, ret_error))
		*ret_broken = true;
	else
		r = -ENOENT;
	mongoc_cursor_destroy(cursor);
	bson_destroy(filter);
	mongo_give(&c);
	return r;
}

/*
 * -ENOENT, quietly, if there is none. Where no server is found there is no
 * second try: the user is waiting.
 */
static int read_marker(struct mongo *m, struct uuid *ret)
{
	struct mongo_try t = mongo_try("open");
	bson_error_t e;
	bool broken;
	int r;

	do
		r = query_marker(m, ret, &e, &broken);
	while (broken && e.domain != MONGOC_ERROR_SERVER_SELECTION &&
		mongo_again(m, &t, &e));
	return broken ? mongo_fail(m, &t, &e) : r;
}

bool mongo_exists(const char *url)
{
	struct mongo *m;
	struct uuid uuid;
	int r;

	if (mongo_connect(url, STORE_READ_ONLY, &m) < 0)
		return false;
	r = read_marker(m, &uuid);
	mongo_disconnect(m);
	return r == 0;
}

/*
 * Chunks and maps are compressed already. A server without this engine, or one
 * where the collection is there from an interrupted creation, says no; the
 * first insert makes it then.
 */
static void create_uncompressed(struct mongo *m, const char *name)
{
	mongoc_client_t *client = mongoc_client_pool_pop(m->pool);
	bson_t *command = BCON_NEW("create", BCON_UTF8(name), "storageEngine",
		"{", "wiredTiger", "{", "configString",
		BCON_UTF8("block_compressor=none"), "}", "}");
	bson_t reply;
	bson_error_t e;

	if (!mongoc_client_command_simple(
		    client, m->db, command, NULL, &reply, &e))
		log_debug("mongo", "create %s: %s", name, e.message);
	bson_destroy(&reply);
	bson_destroy(command);
	mongoc_client_pool_push(m->pool, client);
}

/* On a router, else nothing: what many insert is spread by its key's hash. */
static int shard(struct mongo *m, const char *name)
{
	mongoc_client_t *client;
	scoped(freep) char *space = bson_strdup_printf("%s.%s", m->db, name);
	bson_t *enable = BCON_NEW("enableSharding", BCON_UTF8(m->db));
	bson_t *command = BCON_NEW("shardCollection", BCON_UTF8(space), "key",
		"{", "_id", BCON_UTF8("hashed"), "}");
	struct mongo_try t = mongo_try("shard a collection");
	mongoc_server_description_t *d;
	bson_error_t e;
	int r = 0;

	client = mongoc_client_pool_pop(m->pool);
	d = mongoc_client_select_server(client, true, NULL, &e);
	if (!d) {
		r = mongo_fail(m, &t, &e);
	} else if (strcmp(mongoc_server_description_type(d), "Mongos") == 0) {
		/* since server 6.0 there is nothing to enable */
		if (!mongoc_client_command_simple(
			    client, "admin", enable, NULL, NULL, &e))
			log_debug("mongo", "enableSharding: %s", e.message);
		if (!mongoc_client_command_simple(
			    client, "admin", command, NULL, NULL, &e))
			r = mongo_fail(m, &t, &e);
	}
	if (d)
		mongoc_server_description_destroy(d);
	mongoc_client_pool_push(m->pool, client);
	bson_destroy(enable);
	bson_destroy(command);
	return r;
}

static int write_marker(struct mongo *m, const struct uuid *uuid)
{
	struct mongo_try t = mongo_try("create");
	bson_t b = BSON_INITIALIZER;
	bson_error_t e;
	bool ok;

	BSON_APPEND_UTF8(&b, "_id", STORE_ID);
	BSON_APPEND_INT32(&b, "format", STORE_FORMAT);
	BSON_APPEND_BINARY(
		&b, "uuid", BSON_SUBTYPE_BINARY, uuid->b, sizeof(uuid->b));
	do {
		struct mongo_coll c = mongo_take(m, STORE_COLL);

		ok = mongoc_collection_insert_one(c.c, &b, NULL, NULL, &e);
		mongo_give(&c);
	} while (!ok && mongo_again(m, &t, &e));
	bson_destroy(&b);
	if (!ok && e.code == MONGOC_ERROR_DUPLICATE_KEY) {
		struct uuid there;
		int r = read_marker(m, &there);

		if (r == 0 && memcmp(there.b, uuid->b, sizeof(there.b)) == 0)
			return 0; /* ours, whose reply was lost */
		return fail(
			EEXIST, "%s: is a hivefs repository already", m->name);
	}
	return ok ? 0 : mongo_fail(m, &t, &e);
}

int mongo_create(const char *url, const struct uuid *uuid)
{
	scoped(mongo_disconnectp) struct mongo *m = NULL;
	static const enum coll big[] = { COLL_CHUNKS, COLL_MAPS };
	struct uuid there;
	int r = mongo_connect(url, 0, &m);

	if (r < 0)
		return r;
	r = read_marker(m, &there);
	if (r == 0)
		return fail(
			EEXIST, "%s: is a hivefs repository already", m->name);
	if (r != -ENOENT)
		return r;
	r = 0;
	for (unsigned i = 0; r == 0 && i < N_ELEMS(big); i++) {
		create_uncompressed(m, coll_name(big[i]));
		r = shard(m, coll_name(big[i]));
	}
	/* the marker last: without it there is no store */
	return r < 0 ? r : write_marker(m, uuid);
}

static void close_it(struct store *s)
{
	mongo_disconnect(mongo_of(s));
}

/*
 * What we inserted was acknowledged when it was. What we were told exists may
 * have been inserted by another whose journal is not written yet, on a server
 * without others: a write that changes nothing waits for it.
 */
static int sync_all(struct store *s)
{
	struct mongo *m = mongo_of(s);
	struct mongo_try t = mongo_try("sync");
	bson_t *none = BCON_NEW("_id", BCON_UTF8(""));
	bson_error_t e;
	bool ok;

	if (m->flags & STORE_READ_ONLY) {
		bson_destroy(none);
		return 0;
	}
	do {
		struct mongo_coll c = mongo_take(m, coll_name(COLL_WRITERS));

		ok = mongoc_collection_delete_one(c.c, none, NULL, NULL, &e);
		mongo_give(&c);
	} while (!ok && mongo_again(m, &t, &e));
	bson_destroy(none);
	return ok ? 0 : mongo_fail(m, &t, &e);
}

static uint64_t number(const bson_t *b, const char *name)
{
	bson_iter_t it;
	double v;

	if (!bson_iter_init_find(&it, b, name) || !BSON_ITER_HOLDS_NUMBER(&it))
		return 0;
	v = BSON_ITER_HOLDS_DOUBLE(&it) ? bson_iter_double(&it)
					: (double)bson_iter_as_int64(&it);
	return v > 0 && v < 0x1p63 ? (uint64_t)v : 0;
}

static int info(struct store *s, struct store_info *ret)
{
	struct mongo *m = mongo_of(s);
	bson_t *command = BCON_NEW(
		"dbStats", BCON_INT32(1), "freeStorage", BCON_INT32(1));
	bson_t reply;
	int r = mongo_command(m, "status", command, &reply);

	if (r == 0) {
		uint64_t total = number(&reply, "fsTotalSize");
		uint64_t used = number(&reply, "fsUsedSize");
		uint64_t data = number(&reply, "dataSize");
		uint64_t stored = number(&reply, "storageSize");

		*ret = (struct store_info){ .kind = "mongodb",
			.bytes = MAX_OF(data, stored) +
				 number(&reply, "indexSize"),
			.bytes_free = total > used ? total - used
				      : total      ? 0
						   : STORE_FREE_UNKNOWN,
			.bytes_dead = number(&reply, "freeStorageSize") };
	}
	bson_destroy(&reply);
	bson_destroy(command);
	return r;
}

/* From what the server keeps about the collection, without reading it. */
static int estimate(struct store *s, enum coll c, struct store_count *ret)
{
	bson_t *command = BCON_NEW("collStats", BCON_UTF8(coll_name(c)));
	bson_t reply;
	int r = mongo_command(mongo_of(s), "status", command, &reply);

	if (r == 0)
		*ret = (struct store_count){ .n = number(&reply, "count"),
			.bytes = number(&reply, "size") };
	bson_destroy(&reply);
	bson_destroy(command);
	return r;
}

/*
 * At 5 ms a round trip and 1 MiB a request, 8 of them are 1.6 GB/s; and of one
 * server's threads, many hosts have to share them.
 */
#define DEPTH 8u

static const struct store_ops ops = {
	.depth = DEPTH,
	.close = close_it,
	.get_many = mongo_get_many,
	.head_many = mongo_head_many,
	.exists_many = mongo_exists_many,
	.insert_many = mongo_insert_many,
	.insert = mongo_insert,
	.replace = mongo_replace,
	.remove = mongo_remove,
	.change_many = mongo_change_many,
	.scan = mongo_scan,
	.walk = mongo_walk,
	.sync = sync_all,
	.count = mongo_count,
	.estimate = estimate,
	.info = info,
	.stream_open = mongo_stream_open,
	.stream_peek = mongo_stream_peek,
	.stream_owner = mongo_stream_owner,
	.stream_remove = mongo_stream_remove,
	.stream_list = mongo_stream_list,
};

int mongo_open(const char *url, unsigned flags, struct store **ret)
{
	scoped(mongo_disconnectp) struct mongo *m = NULL;
	int r = mongo_connect(url, flags, &m);

	if (r == 0)
		r = read_marker(m, &m->base.uuid);
	if (r == -ENOENT)
		return fail(ENOMEDIUM,
			"%s: there is no repository in this database; create "
			"one with: hivefs init",
			m->name);
	if (r < 0)
		return r;
	m->base.ops = &ops;
	*ret = &take(m)->base;
	return 0;
}

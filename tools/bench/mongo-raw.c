/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongo-raw - what a MongoDB server gives to a program that does nothing else:
 *
 *   mongo-raw URI insert|find THREADS
 *   mongo-raw URI drop
 *
 * The documents are those of the chunks that a repository at URI has. `insert`
 * reads them all first, then times inserting them into a collection of its own:
 * unordered messages of 12 MB, acknowledged as hivefs wants it. `find` times
 * finding them by their keys, 64 at a time, in the order they were inserted.
 * Prints their bytes and the seconds that took. `drop` removes the database.
 */
#include <mongoc/mongoc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/bytes.h"
#include "src/pool.h"

#define COLL "bench_raw"
#define FIND_KEYS 64u
#define MESSAGE_BYTES (12u << 20)

struct raw {
	mongoc_client_pool_t *pool;
	const char *db;
	const bson_t **docs;
	size_t n, cap;
	uint64_t bytes;
	size_t *parts; /* where each message begins */
	size_t n_parts;
};

static void check(bool ok, const char *what, const bson_error_t *e)
{
	if (ok)
		return;
	fprintf(stderr, "mongo-raw: %s: %s\n", what, e->message);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void set_concerns(mongoc_uri_t *uri)
{
	mongoc_write_concern_t *w = mongoc_write_concern_new();
	mongoc_read_concern_t *r = mongoc_read_concern_new();

	mongoc_write_concern_set_wmajority(w, 0);
	mongoc_write_concern_set_journal(w, true);
	mongoc_read_concern_set_level(r, MONGOC_READ_CONCERN_LEVEL_MAJORITY);
	mongoc_uri_set_write_concern(uri, w);
	mongoc_uri_set_read_concern(uri, r);
	mongoc_write_concern_destroy(w);
	mongoc_read_concern_destroy(r);
}

static void keep(struct raw *raw, const bson_t *b)
{
	if (raw->n == raw->cap) {
		raw->cap = raw->cap ? 2 * raw->cap : 1024;
		raw->docs = realloc(raw->docs, raw->cap * sizeof(*raw->docs));
		if (!raw->docs)
			abort();
	}
	raw->docs[raw->n++] = bson_copy(b);
	raw->bytes += b->len;
}

/* In the order of the collection. KEYS: their keys only, for find. */
static void load(struct raw *raw, bool keys)
{
	mongoc_client_t *client = mongoc_client_pool_pop(raw->pool);
	mongoc_collection_t *c =
		mongoc_client_get_collection(client, raw->db, "chunks");
	/* not every server ends a batch by its size */
	bson_t *opts =
		keys ? BCON_NEW("projection", "{", "_id", BCON_INT32(1), "}")
		     : BCON_NEW("batchSize", BCON_INT32(256));
	bson_t all = BSON_INITIALIZER;
	mongoc_cursor_t *cursor =
		mongoc_collection_find_with_opts(c, &all, opts, NULL);
	const bson_t *b;
	bson_error_t e;

	while (mongoc_cursor_next(cursor, &b))
		keep(raw, b);
	check(!mongoc_cursor_error(cursor, &e), "read the chunks", &e);
	mongoc_cursor_destroy(cursor);
	bson_destroy(opts);
	mongoc_collection_destroy(c);
	mongoc_client_pool_push(raw->pool, client);
}

static void cut(struct raw *raw, bool find)
{
	uint64_t bytes = 0;
	size_t n = 0;

	raw->parts = calloc(raw->n + 2, sizeof(*raw->parts));
	if (!raw->parts)
		abort();
	for (size_t i = 0; i < raw->n; i++, n++) {
		bytes += raw->docs[i]->len;
		if (find ? n % FIND_KEYS == 0
			 : n == 0 || bytes > MESSAGE_BYTES) {
			raw->parts[raw->n_parts++] = i;
			bytes = raw->docs[i]->len;
		}
	}
	raw->parts[raw->n_parts] = raw->n;
}

static int insert_part(void *arg, uint64_t part, unsigned thread)
{
	const struct raw *raw = arg;
	size_t i = raw->parts[part], n = raw->parts[part + 1] - i;
	mongoc_client_t *client = mongoc_client_pool_pop(raw->pool);
	mongoc_collection_t *c =
		mongoc_client_get_collection(client, raw->db, COLL);
	bson_t *opts = BCON_NEW("ordered", BCON_BOOL(false));
	bson_error_t e;

	(void)thread;
	check(mongoc_collection_insert_many(
		      c, raw->docs + i, n, opts, NULL, &e),
		"insert", &e);
	bson_destroy(opts);
	mongoc_collection_destroy(c);
	mongoc_client_pool_push(raw->pool, client);
	return 0;
}

static void select_part(const struct raw *raw, uint64_t part, bson_t *filter)
{
	bson_t in, list;

	bson_init(filter);
	BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &in);
	BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
	for (size_t i = raw->parts[part]; i < raw->parts[part + 1]; i++) {
		char text[16];
		const char *name;
		bson_iter_t it;

		bson_uint32_to_string((uint32_t)(i - raw->parts[part]), &name,
			text, sizeof(text));
		if (bson_iter_init_find(&it, raw->docs[i], "_id"))
			bson_append_iter(&list, name, -1, &it);
	}
	bson_append_array_end(&in, &list);
	bson_append_document_end(filter, &in);
}

static int find_part(void *arg, uint64_t part, unsigned thread)
{
	const struct raw *raw = arg;
	size_t n = raw->parts[part + 1] - raw->parts[part], got = 0;
	mongoc_client_t *client = mongoc_client_pool_pop(raw->pool);
	mongoc_collection_t *c =
		mongoc_client_get_collection(client, raw->db, "chunks");
	mongoc_cursor_t *cursor;
	const bson_t *b;
	bson_t filter;
	bson_error_t e;

	(void)thread;
	select_part(raw, part, &filter);
	cursor = mongoc_collection_find_with_opts(c, &filter, NULL, NULL);
	while (mongoc_cursor_next(cursor, &b))
		got++;
	check(!mongoc_cursor_error(cursor, &e), "find", &e);
	e.message[0] = 0;
	check(got == n, "find: some are missing", &e);
	mongoc_cursor_destroy(cursor);
	bson_destroy(&filter);
	mongoc_collection_destroy(c);
	mongoc_client_pool_push(raw->pool, client);
	return 0;
}

static void drop(const struct raw *raw)
{
	mongoc_client_t *client = mongoc_client_pool_pop(raw->pool);
	mongoc_collection_t *c =
		mongoc_client_get_collection(client, raw->db, COLL);

	/* an error: there is none */
	mongoc_collection_drop(c, NULL);
	mongoc_collection_destroy(c);
	mongoc_client_pool_push(raw->pool, client);
}

static int drop_database(const struct raw *raw)
{
	mongoc_client_t *client = mongoc_client_pool_pop(raw->pool);
	mongoc_database_t *db = mongoc_client_get_database(client, raw->db);
	bson_error_t e;

	check(mongoc_database_drop(db, &e), "drop", &e);
	mongoc_database_destroy(db);
	mongoc_client_pool_push(raw->pool, client);
	return 0;
}

/* Of all documents, as the server counts them, for find. */
static uint64_t chunk_bytes(const struct raw *raw)
{
	struct raw all = { .pool = raw->pool, .db = raw->db };

	load(&all, false);
	for (size_t i = 0; i < all.n; i++)
		bson_destroy((bson_t *)(uintptr_t)all.docs[i]);
	free(all.docs);
	return all.bytes;
}

int main(int argc, char **argv)
{
	bool gone = argc == 3 && strcmp(argv[2], "drop") == 0;
	bool find = argc == 4 && strcmp(argv[2], "find") == 0;
	struct raw raw = { 0 };
	unsigned threads;
	mongoc_uri_t *uri;
	bson_error_t e;
	double begun;

	if (!gone && !find && (argc != 4 || strcmp(argv[2], "insert") != 0)) {
		fprintf(stderr,
			"usage: mongo-raw URI insert|find THREADS, or drop\n");
		return 2;
	}
	threads = gone ? 1 : (unsigned)strtoul(argv[3], NULL, 10);
	mongoc_init();
	uri = mongoc_uri_new_with_error(argv[1], &e);
	check(uri, argv[1], &e);
	set_concerns(uri);
	raw.pool = mongoc_client_pool_new(uri);
	mongoc_client_pool_set_error_api(raw.pool, 2);
	raw.db = mongoc_uri_get_database(uri);
	snprintf(e.message, sizeof(e.message), "names no database");
	check(raw.db, argv[1], &e);
	if (gone)
		return drop_database(&raw);
	load(&raw, find);
	if (find)
		raw.bytes = chunk_bytes(&raw);
	else
		drop(&raw);
	cut(&raw, find);
	begun = now();
	if (parallel_for(threads ? threads : 1, raw.n_parts,
		    find ? find_part : insert_part, &raw) < 0)
		return 1;
	printf("%llu %.6f\n", (unsigned long long)raw.bytes, now() - begun);
	drop(&raw);
	mongoc_uri_destroy(uri);
	return 0;
}

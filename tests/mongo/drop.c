/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drop - removes the database of a test, or damages a document in it.
 *
 *   mongo_drop URI
 *   mongo_drop URI COLLECTION N    flips a bit in the body of the N-th document
 *   mongo_drop URI bytes FILE      flips a bit where a document has these bytes
 */
#define _GNU_SOURCE
#include <mongoc/mongoc.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/mongo_help.h"

/* BSON is bytes: the field keeps its length. */
static bool flip(bson_t *doc)
{
	bson_subtype_t type;
	const uint8_t *body;
	bson_iter_t it;
	uint32_t len;

	if (!bson_iter_init_find(&it, doc, "bin") &&
		!bson_iter_init_find(&it, doc, "doc"))
		return false;
	if (BSON_ITER_HOLDS_BINARY(&it))
		bson_iter_binary(&it, &type, &len, &body);
	else
		bson_iter_document(&it, &len, &body);
	((uint8_t *)(uintptr_t)body)[len / 2] ^= 1;
	return true;
}

static int damage(mongoc_collection_t *c, int64_t skip)
{
	bson_t all = BSON_INITIALIZER,
	       *opts = BCON_NEW(
		       "skip", BCON_INT64(skip), "limit", BCON_INT64(1));
	mongoc_cursor_t *cursor =
		mongoc_collection_find_with_opts(c, &all, opts, NULL);
	const bson_t *found;
	bson_error_t e;
	bson_iter_t it;
	int status = 1;

	if (mongoc_cursor_next(cursor, &found) &&
		bson_iter_init_find(&it, found, "_id")) {
		bson_t *doc = bson_copy(found), which = BSON_INITIALIZER;

		bson_append_iter(&which, "_id", -1, &it);
		if (flip(doc) && mongoc_collection_replace_one(
					 c, &which, doc, NULL, NULL, &e))
			status = 0;
		bson_destroy(doc);
	}
	mongoc_cursor_destroy(cursor);
	bson_destroy(opts);
	return status;
}

static bool read_needle(const char *path, uint8_t *buf, size_t size, size_t *n)
{
	FILE *f = fopen(path, "rb");

	*n = f ? fread(buf, 1, size, f) : 0;
	if (f)
		fclose(f);
	return *n > 3;
}

/* The first document that has them. */
static int damage_bytes(mongoc_collection_t *c, const uint8_t *needle, size_t n)
{
	bson_t all = BSON_INITIALIZER;
	mongoc_cursor_t *cursor =
		mongoc_collection_find_with_opts(c, &all, NULL, NULL);
	const bson_t *found;
	int status = 1;

	while (status && mongoc_cursor_next(cursor, &found)) {
		bson_t *doc = bson_copy(found), which = BSON_INITIALIZER;
		uint8_t *at = memmem(bson_get_data(doc), doc->len, needle, n);
		bson_error_t e;
		bson_iter_t it;

		if (at && bson_iter_init_find(&it, found, "_id")) {
			at[3] ^= 1;
			bson_append_iter(&which, "_id", -1, &it);
			status = !mongoc_collection_replace_one(
				c, &which, doc, NULL, NULL, &e);
		}
		bson_destroy(&which);
		bson_destroy(doc);
	}
	mongoc_cursor_destroy(cursor);
	return status;
}

static int damage_anywhere(
	mongoc_client_t *client, const char *database, const char *path)
{
	static const char *const names[] = { "chunks", "maps", "points",
		"clones", "streams" };
	uint8_t needle[4096];
	size_t n;
	int status = 1;

	if (!read_needle(path, needle, sizeof(needle), &n))
		return 1;
	for (size_t i = 0; status && i < sizeof(names) / sizeof(*names); i++) {
		mongoc_collection_t *c = mongoc_client_get_collection(
			client, database, names[i]);

		status = damage_bytes(c, needle, n);
		mongoc_collection_destroy(c);
	}
	return status;
}

int main(int argc, char **argv)
{
	mongoc_client_t *client;
	mongoc_uri_t *uri;

	if (argc == 2) {
		help_drop(argv[1]);
		return 0;
	}
	if (argc != 4) {
		fprintf(stderr,
			"usage: mongo_drop URI [COLLECTION N | bytes FILE]\n");
		return 2;
	}
	mongoc_init();
	uri = mongoc_uri_new(argv[1]);
	client = mongoc_client_new_from_uri(uri);
	if (strcmp(argv[2], "bytes") == 0)
		return damage_anywhere(
			client, mongoc_uri_get_database(uri), argv[3]);
	return damage(mongoc_client_get_collection(
			      client, mongoc_uri_get_database(uri), argv[2]),
		strtol(argv[3], NULL, 10));
}

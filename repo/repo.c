/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/repo.h"

#include <bson/bson.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "repo/decode.h"
#include "src/log.h"
#include "src/url.h"

static struct key meta_key(const char *name)
{
	return key_of(name, strlen(name));
}

static struct doc meta_doc(const char *name, const bson_t *body)
{
	return (struct doc){ .coll = COLL_META,
		.key = meta_key(name),
		.version = 1,
		.body = bson_get_data(body),
		.len = body->len };
}

static int insert_meta(struct store *s, const struct uuid *uuid, int level)
{
	bson_t empty = BSON_INITIALIZER;
	struct doc generation = meta_doc("generation", &empty);
	struct doc meta;
	bson_t b;
	int r;

	bson_init(&b);
	BSON_APPEND_INT32(&b, "format", REPO_FORMAT);
	BSON_APPEND_BINARY(
		&b, "uuid", BSON_SUBTYPE_BINARY, uuid->b, sizeof(uuid->b));
	BSON_APPEND_INT64(&b, "created", time(NULL));
	BSON_APPEND_UTF8(&b, "chunker", "page-16-64-128");
	BSON_APPEND_UTF8(&b, "digest", "sha256");
	BSON_APPEND_UTF8(&b, "compression", "zstd");
	BSON_APPEND_INT32(&b, "level", level);
	meta = meta_doc("repository", &b);

	/* the repository's document last: without it there is no repository */
	r = store_insert(s, &generation);
	if (r == 0 || r == -EEXIST)
		r = store_insert(s, &meta);
	if (r == 0)
		r = store_sync(s);
	bson_destroy(&b);
	bson_destroy(&empty);
	return r;
}

static int already(const char *url)
{
	scoped(freep) char *public = url_public(url);

	return fail(EEXIST, "%s: is a hivefs repository already",
		public ? public : "there");
}

/*
 * The store that has been made, or the one that an interrupted creation left
 * without our documents.
 */
static int init_store(const char *url, struct store **ret)
{
	scoped(store_closep) struct store *s = NULL;
	struct key key = meta_key("repository");
	struct doc d;
	int r;

	if (!store_exists(url)) {
		struct uuid uuid = uuid_random();

		r = store_create(url, &uuid);
		return r < 0 ? r : store_open(url, 0, ret);
	}
	r = store_open(url, 0, &s);
	if (r == 0)
		r = store_get(s, COLL_META, &key, &d);
	if (r == 0) {
		doc_fini(&d);
		return already(url);
	}
	if (r != -ENOENT)
		return r;
	*ret = take(s);
	return 0;
}

int repo_init(const char *url, int level, struct uuid *ret)
{
	struct uuid uuid;
	struct store *s;
	int r = init_store(url, &s);

	if (r < 0)
		return r;
	uuid = store_uuid(s);
	r = insert_meta(s, &uuid, level);
	store_close(s);
	if (r == -EEXIST)
		return already(url);
	if (r == 0)
		*ret = uuid;
	return r;
}

static int parse_meta(struct repo *r, const struct doc *d)
{
	struct decode in;
	int32_t format;

	decode_begin(&in, d);
	format = decode_i32(&in, "format", 1, INT32_MAX);
	/* before all else: what a newer format says means nothing to us */
	if (!in.bad && format > REPO_FORMAT)
		return fail(EPROTONOSUPPORT,
			"%s: is of format %d, made by a newer hivefs; "
			"this one knows up to %d",
			r->url, (int)format, REPO_FORMAT);
	decode_bytes(&in, "uuid", r->uuid.b, sizeof(r->uuid.b));
	r->created = decode_i64(&in, "created", 0, INT64_MAX);
	r->level = decode_i32(&in, "level", 1, REPO_LEVEL_MAX);
	return decode_end(&in, "meta");
}

/*
 * Why it has no document of its own. A creation that was interrupted has made
 * the generation at most; where more are counted, it has vanished.
 */
static int nameless(const struct repo *r)
{
	struct store_count count;
	int err = store_count(r->store, COLL_META, &count);

	if (err < 0)
		return err;
	if (count.n > 1)
		return fail(EBADMSG,
			"%s: what describes it is not found: the index is "
			"damaged (rebuild it with: hivefs repair --index)",
			r->url);
	return fail(ENOMEDIUM,
		"%s: its creation was interrupted; create it again with: "
		"hivefs init",
		r->url);
}

int repo_open(const char *url, unsigned flags, struct repo **ret)
{
	struct key key = meta_key("repository");
	struct repo *r = calloc(1, sizeof(*r));
	struct doc d;
	int err;

	if (!r)
		return fail(ENOMEM, "repository: %m");
	r->url = url_public(url);
	err = r->url ? store_open(url, flags, &r->store)
		     : fail(ENOMEM, "repository: %m");
	if (err < 0)
		goto out;
	err = store_get(r->store, COLL_META, &key, &d);
	if (err == -ENOENT)
		err = nameless(r);
	if (err < 0)
		goto out;
	err = parse_meta(r, &d);
	doc_fini(&d);
out:
	if (err < 0)
		repo_close(r);
	else
		*ret = r;
	return err;
}

void repo_close(struct repo *r)
{
	if (r->store)
		store_close(r->store);
	free(r->url);
	free(r);
}

int repo_generation(struct repo *r, uint64_t *ret)
{
	struct key key = meta_key("generation");
	struct doc d;
	int err = store_get(r->store, COLL_META, &key, &d);

	if (err == -ENOENT)
		return fail(EBADMSG,
			"%s: its generation counter is missing; rebuild the "
			"index with: hivefs repair --index",
			r->url);
	if (err < 0)
		return err;
	*ret = d.version;
	doc_fini(&d);
	return 0;
}

int repo_generation_next(struct repo *r, uint64_t *ret)
{
	bson_t empty = BSON_INITIALIZER;
	struct doc d = meta_doc("generation", &empty);
	uint64_t now;
	int err;

	do {
		err = repo_generation(r, &now);
		d.version = now + 1;
		if (err == 0)
			err = store_replace(r->store, &d, now);
	} while (err == -ESTALE);
	bson_destroy(&empty);
	if (err == 0)
		*ret = now + 1;
	return err;
}

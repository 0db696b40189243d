/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/store.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <xxhash.h>

#include "repo/store_embedded.h"
#include "repo/store_mongo.h"
#include "repo/store_ops.h"
#include "repo/store_repair.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/pool.h"
#include "src/text.h"

const char *coll_name(enum coll c)
{
	static const char *const names[N_COLLS] = {
		[COLL_META] = "meta",
		[COLL_MACHINES] = "machines",
		[COLL_CHUNKS] = "chunks",
		[COLL_MAPS] = "maps",
		[COLL_POINTS] = "points",
		[COLL_LABELS] = "labels",
		[COLL_CLONES] = "clones",
		[COLL_QUARANTINE] = "quarantine",
		[COLL_WRITERS] = "writers",
		[COLL_CONDEMNED] = "condemned",
	};

	assert((unsigned)c < N_COLLS);
	return names[c];
}

char *doc_name(enum coll c, const struct key *key, char buf[DOC_NAME])
{
	const char *coll = coll_name(c);
	size_t len = strlen(coll);
	bool text = true;
	int n;

	/* one of the chunks is a chunk */
	len -= coll[len - 1] == 's';
	n = snprintf(buf, DOC_NAME, "%.*s ", (int)len, coll);

	for (unsigned i = 0; i < key->len; i++)
		text = text && isgraph(key->b[i]);
	if (text)
		snprintf(buf + n, DOC_NAME - (size_t)n, "%.*s", key->len,
			(const char *)key->b);
	else
		hex_encode(key->b, key->len, buf + n);
	return buf;
}

void store_count_change(
	struct store_count *count, const struct doc *doc, bool add)
{
	uint8_t b[1 + KEY_MAX + 16];
	uint8_t *p = b;
	XXH128_hash_t h;

	*p++ = (uint8_t)doc->coll;
	memcpy(p, doc->key.b, doc->key.len);
	p += doc->key.len;
	put_le64(p, doc->version);
	put_le64(p + 8, doc->generation);
	h = XXH3_128bits(b, (size_t)(p + 16 - b));
	if (!add) { /* two's complement */
		h.low64 = ~h.low64 + 1;
		h.high64 = ~h.high64 + (h.low64 == 0);
	}
	count->n += add ? 1 : UINT64_MAX;
	count->bytes += add ? (uint64_t)doc->len : -(uint64_t)doc->len;
	count->sum[0] += h.low64;
	count->sum[1] += h.high64 + (count->sum[0] < h.low64);
}

void store_count_add(struct store_count *count, const struct doc *doc)
{
	store_count_change(count, doc, true);
}

/* The path that the URL of an embedded store names. */
static int url_path(const char *url, const char **ret)
{
	if (strncmp(url, "file://", 7) == 0) {
		url += 7;
		if (url[0] != '/')
			return fail(EINVAL,
				"file://%s: a file URL names no host: "
				"file:///PATH",
				url);
	}
	if (url[0] == '\0')
		return fail(EINVAL, "the repository's name is empty");
	*ret = url;
	return 0;
}

int store_create(const char *url, const struct uuid *uuid)
{
	const char *path;
	int r;

	if (mongo_is_url(url))
		return mongo_create(url, uuid);
	r = url_path(url, &path);
	return r < 0 ? r : embedded_create(path, uuid);
}

bool store_exists(const char *url)
{
	const char *path;

	if (mongo_is_url(url))
		return mongo_exists(url);
	return url_path(url, &path) == 0 && embedded_exists(path);
}

struct uuid store_uuid(const struct store *s)
{
	return s->uuid;
}

int store_open(const char *url, unsigned flags, struct store **ret)
{
	const char *path;
	int r;

	if (mongo_is_url(url))
		return mongo_open(url, flags, ret);
	r = url_path(url, &path);
	return r < 0 ? r : embedded_open(path, flags, ret);
}

int store_repair_index(const char *url, struct store_repair *ret)
{
	const char *path;
	int r;

	if (mongo_is_url(url))
		return fail(EINVAL, "a repository in MongoDB has no index of "
				    "ours to rebuild");
	r = url_path(url, &path);
	return r < 0 ? r : embedded_repair(path, ret);
}

void store_close(struct store *s)
{
	s->ops->close(s);
}

static void check_keys(enum coll c, const struct key *keys, size_t n)
{
	assert((unsigned)c < N_COLLS);
	for (size_t i = 0; i < n; i++)
		assert(keys[i].len >= 1 && keys[i].len <= KEY_MAX);
}

static void check_docs(const struct doc *docs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		check_keys(docs[i].coll, &docs[i].key, 1);
		assert(docs[i].body && docs[i].len <= DOC_MAX);
	}
}

int store_get(
	struct store *s, enum coll c, const struct key *key, struct doc *ret)
{
	struct doc d = { 0 };
	int r = store_get_many(s, c, key, 1, &d, NULL);

	if (r < 0)
		return r;
	if (!d.body)
		return -ENOENT;
	*ret = d;
	return 0;
}

int store_get_many(struct store *s, enum coll c, const struct key *keys,
	size_t n, struct doc *ret, int *ret_err)
{
	check_keys(c, keys, n);
	return s->ops->get_many(s, c, keys, n, ret, ret_err);
}

int store_head_many(struct store *s, enum coll c, const struct key *keys,
	size_t n, struct doc *ret)
{
	check_keys(c, keys, n);
	memset(ret, 0, n * sizeof(*ret));
	return s->ops->head_many(s, c, keys, n, ret);
}

int store_exists_many(struct store *s, enum coll c, const struct key *keys,
	size_t n, bool *ret)
{
	check_keys(c, keys, n);
	return s->ops->exists_many(s, c, keys, n, ret);
}

int store_insert_many(
	struct store *s, const struct doc *docs, size_t n, bool *ret_inserted)
{
	check_docs(docs, n);
	for (size_t i = 0; i < n; i++)
		assert(docs[i].coll == COLL_CHUNKS ||
			docs[i].coll == COLL_MAPS);
	return s->ops->insert_many(s, docs, n, ret_inserted);
}

int store_insert(struct store *s, const struct doc *doc)
{
	check_docs(doc, 1);
	return s->ops->insert(s, doc);
}

int store_replace(struct store *s, const struct doc *doc, uint64_t old_version)
{
	check_docs(doc, 1);
	return s->ops->replace(s, doc, old_version);
}

int store_remove(
	struct store *s, enum coll c, const struct key *key, uint64_t version)
{
	check_keys(c, key, 1);
	return s->ops->remove(s, c, key, version);
}

int store_change_many(struct store *s, struct store_change *changes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct store_change *ch = &changes[i];

		if (ch->doc)
			check_docs(ch->doc, 1);
		else
			check_keys(ch->coll, &ch->key, 1);
		assert(!ch->insert || ch->doc);
		assert(!ch->insert || (ch->doc->coll != COLL_CHUNKS &&
					      ch->doc->coll != COLL_MAPS));
	}
	return s->ops->change_many(s, changes, n);
}

int store_scan(struct store *s, enum coll c, const struct key *prefix,
	unsigned flags, store_visit visit, void *arg)
{
	assert(!prefix || prefix->len <= KEY_MAX);
	if (prefix && prefix->len == 0)
		prefix = NULL;
	return s->ops->scan(s, c, prefix, flags, visit, arg);
}

int store_walk(struct store *s, enum coll c, unsigned n_threads,
	store_walk_visit visit, void *arg)
{
	assert(n_threads >= 1);
	return s->ops->walk(s, c, n_threads, visit, arg);
}

int store_gone(struct store *s, store_visit visit, void *arg)
{
	return s->ops->gone ? s->ops->gone(s, visit, arg) : 0;
}

unsigned store_threads(const struct store *s)
{
	unsigned cpus = cpu_count();

	return MAX_OF(cpus, s->ops->depth);
}

int store_sync(struct store *s)
{
	return s->ops->sync(s);
}

bool store_alone(struct store *s)
{
	return s->ops->alone && s->ops->alone(s);
}

void store_tidy(struct store *s)
{
	if (s->ops->tidy)
		s->ops->tidy(s);
}

int store_compact(struct store *s, _Atomic uint64_t *done,
	_Atomic uint64_t *total, const _Atomic bool *cancel,
	struct store_compact *ret)
{
	memset(ret, 0, sizeof(*ret));
	return s->ops->compact ? s->ops->compact(s, done, total, cancel, ret)
			       : 0;
}

int store_count(struct store *s, enum coll c, struct store_count *ret)
{
	return s->ops->count(s, c, ret);
}

int store_estimate(struct store *s, enum coll c, struct store_count *ret)
{
	return s->ops->estimate(s, c, ret);
}

int store_info(struct store *s, struct store_info *ret)
{
	return s->ops->info(s, ret);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/heal.h"

#include <bson/bson.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "repo/fetch.h"
#include "repo/quarantine.h"
#include "src/log.h"

#define BATCH 512u

struct healing {
	struct repo *repo;
	struct quarantine quarantine;
	struct fetcher *fetcher;
	struct heal_result result;
	/* what is about to be moved */
	unsigned n, n_removals;
	struct doc docs[BATCH];
	struct store_change moves[BATCH], removals[BATCH];
};

/* 1 and the version of what is there, 0: nothing is. */
static int version_of(
	struct repo *r, enum coll coll, const struct digest *d, uint64_t *ret)
{
	struct key key = key_of(d->b, sizeof(d->b));
	struct doc head;
	int err = store_head_many(r->store, coll, &key, 1, &head);

	if (err < 0 || head.key.len == 0)
		return err;
	*ret = head.version;
	return 1;
}

/* 1: it is there and whole; 0: it is not. */
static int is_whole(struct healing *h, enum coll coll, const struct digest *d)
{
	struct key key = key_of(d->b, sizeof(d->b));
	struct doc doc;
	uint32_t len;
	int r = store_get(h->repo->store, coll, &key, &doc);

	if (r == 0) {
		r = fetcher_decode(h->fetcher, d, FETCH_ANY_LEVEL, &doc, &len);
		doc_fini(&doc);
	}
	if (r == -ENOENT || r == -EBADMSG)
		return 0;
	return r < 0 ? r : 1;
}

static int flush(struct healing *h)
{
	int r = 0;

	if (h->n)
		r = store_change_many(h->repo->store, h->moves, h->n);
	/* nothing is removed before all of them are in the quarantine */
	if (r == 0 && h->n_removals)
		r = store_change_many(
			h->repo->store, h->removals, h->n_removals);
	if (r == 0)
		h->result.n_moved += h->n;
	for (unsigned i = 0; i < h->n; i++)
		doc_fini(&h->docs[i]);
	h->n = h->n_removals = 0;
	return r;
}

static int add_move(struct healing *h, enum coll coll, const struct digest *d,
	bool there, uint64_t version)
{
	const struct quarantined *was = quarantine_find(&h->quarantine, d);
	struct doc *doc = &h->docs[h->n];
	bson_t b = BSON_INITIALIZER;

	BSON_APPEND_INT32(&b, "coll", (int32_t)coll);
	BSON_APPEND_BOOL(&b, "missing", !there);
	BSON_APPEND_INT64(&b, "time", time(NULL));
	*doc = (struct doc){ .coll = COLL_QUARANTINE,
		.key = key_of(d->b, sizeof(d->b)),
		.version = random_u64() | 1,
		.len = b.len,
		.owned = malloc(b.len) };
	if (doc->owned)
		doc->body = memcpy(doc->owned, bson_get_data(&b), b.len);
	bson_destroy(&b);
	if (!doc->owned)
		return fail(ENOMEM, "quarantine: %m");
	h->moves[h->n++] = (struct store_change){ .doc = doc,
		.insert = !was,
		.old_version = was ? was->version : 0 };
	if (there)
		h->removals[h->n_removals++] = (struct store_change){
			.coll = coll, .key = doc->key, .old_version = version
		};
	return h->n < BATCH ? 0 : flush(h);
}

static int move(void *arg, enum coll coll, const struct digest *d)
{
	struct healing *h = arg;
	uint64_t version = 0;
	int there = version_of(h->repo, coll, d, &version);
	int whole;

	/* where the index itself is damaged, it is to be rebuilt */
	if (there == -EBADMSG)
		return 0;
	if (there < 0)
		return there;
	whole = there ? is_whole(h, coll, d) : 0;
	if (whole != 0)
		return whole < 0 ? whole : 0;
	if (!there && quarantine_has(&h->quarantine, d))
		return 0;
	return add_move(h, coll, d, there, version);
}

/* A digest is of a chunk or of a map: nothing hashes to both. */
static int take_out(struct healing *h, const struct quarantined *q)
{
	struct key key = key_of(q->digest.b, sizeof(q->digest.b));
	int r;

	for (unsigned i = 0; i < 2; i++) {
		enum coll coll = i ? COLL_MAPS : COLL_CHUNKS;
		uint64_t version;

		r = version_of(h->repo, coll, &q->digest, &version);
		if (r == 1)
			r = is_whole(h, coll, &q->digest);
		if (r == 1)
			break;
		if (r < 0)
			return r == -EBADMSG ? 0 : r;
	}
	if (r == 0)
		return 0;
	r = store_remove(h->repo->store, COLL_QUARANTINE, &key, q->version);
	if (r == 0)
		h->result.n_healed++;
	return r == -ENOENT || r == -ESTALE ? 0 : r;
}

static int run(struct healing *h, const struct damage *d)
{
	int r = quarantine_load(h->repo, &h->quarantine);

	if (r == 0)
		r = fetcher_new(h->repo, &h->fetcher);
	for (size_t i = 0; r == 0 && i < h->quarantine.n; i++)
		r = take_out(h, &h->quarantine.v[i]);
	if (r == 0)
		r = damage_each(d, move, h);
	if (r == 0)
		r = flush(h);
	return r < 0 ? r : store_sync(h->repo->store);
}

int heal(struct repo *r, const struct damage *d, struct heal_result *ret)
{
	struct healing *h = calloc(1, sizeof(*h));
	int err;

	if (!h)
		return fail(ENOMEM, "quarantine: %m");
	h->repo = r;
	err = run(h, d);
	if (err == 0)
		*ret = h->result;
	for (unsigned i = 0; i < h->n; i++)
		doc_fini(&h->docs[i]);
	if (h->fetcher)
		fetcher_free(h->fetcher);
	quarantine_fini(&h->quarantine);
	free(h);
	return err;
}

static int add_gone(void *arg, const struct doc *doc)
{
	struct digest d;

	if (doc->key.len != sizeof(d.b))
		return 0;
	memcpy(d.b, doc->key.b, sizeof(d.b));
	return damage_add(arg, doc->coll, &d,
		doc->coll == COLL_MAPS ? DAMAGE_ANY_LEVEL : DAMAGE_CHUNK);
}

int heal_gone(struct repo *r, uint64_t *ret_moved)
{
	struct heal_result res = { 0 };
	struct damage gone;
	int err;

	damage_init(&gone);
	err = store_gone(r->store, add_gone, &gone);
	if (err == 0 && damage_any(&gone))
		err = heal(r, &gone, &res);
	damage_fini(&gone);
	*ret_moved = res.n_moved;
	return err;
}

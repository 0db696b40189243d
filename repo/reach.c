/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/reach.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "repo/digest_set.h"
#include "repo/fetch.h"
#include "repo/listing.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/pool.h"

#define MAPS_AT_ONCE 32u /* some 2000 chunks to look up; 33,000 at worst */

/* What a thread has to itself. */
struct worker {
	struct fetcher *fetcher;
	struct key maps[MAPS_AT_ONCE]; /* of a batch */
	struct keys chunks;            /* that its leaves name */
	bool *there;
	size_t there_cap;
	uint64_t n_chunks;
	struct leaf leaf;
};

struct reach {
	struct repo *repo;
	struct damage *damage;
	const _Atomic bool *cancel;
	const struct reach_visitor *visitor;
	unsigned n_threads;
	struct worker *workers;
	unsigned level; /* being read */
	pthread_mutex_t lock;
	/* of LEVEL: immutable while it is read; of the one below: lock */
	struct digest_set maps[MAP_LEVELS_MAX];
};

void reach_free(struct reach *c)
{
	for (unsigned i = 0; i < c->n_threads; i++) {
		struct worker *w = &c->workers[i];

		if (w->fetcher)
			fetcher_free(w->fetcher);
		vec_fini(&w->chunks);
		free(w->there);
	}
	for (unsigned level = 0; level < MAP_LEVELS_MAX; level++)
		digest_set_fini(&c->maps[level]);
	free(c->workers);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

int reach_new(struct repo *repo, unsigned n_threads, const _Atomic bool *cancel,
	struct damage *damage, const struct reach_visitor *visitor,
	struct reach **ret)
{
	struct reach *c = calloc(1, sizeof(*c));
	struct worker *workers = calloc(n_threads, sizeof(*workers));
	int r = 0;

	if (!c || !workers) {
		free(c);
		free(workers);
		return fail(ENOMEM, "maps: %m");
	}
	c->workers = workers;
	c->repo = repo;
	c->damage = damage;
	c->cancel = cancel;
	c->visitor = visitor;
	pthread_mutex_init(&c->lock, NULL);
	while (r == 0 && c->n_threads < n_threads)
		r = fetcher_new(repo, &workers[c->n_threads++].fetcher);
	if (r < 0)
		reach_free(c);
	else
		*ret = c;
	return r;
}

int reach_add(struct reach *c, const struct digest *root, unsigned level)
{
	int r;

	if (digest_is_none(root))
		return 0;
	r = digest_set_add(&c->maps[level], root, 0);
	return r < 0 ? r : 0;
}

static int add_children(struct reach *c, const uint8_t *packed)
{
	int r = 0;

	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; r >= 0 && i < MAP_FAN; i++) {
		struct digest child = node_child(packed, i);

		if (!digest_is_none(&child))
			r = digest_set_add(&c->maps[c->level - 1], &child, 0);
	}
	pthread_mutex_unlock(&c->lock);
	return r < 0 ? r : 0;
}

static int add_chunks(struct worker *w, const uint8_t *packed, uint32_t len)
{
	int r = leaf_unpack(packed, len, &w->leaf);

	for (uint32_t i = 0; r == 0 && i < w->leaf.n; i++) {
		const struct leaf_extent *e = &w->leaf.v[i];

		if (e->kind == BLK_DATA &&
			vec_add(&w->chunks,
				key_of(e->chunk.b, sizeof(e->chunk.b))) < 0)
			r = fail(ENOMEM, "maps: %m");
	}
	return r;
}

static int check_map(struct reach *c, struct worker *w, struct digest want,
	struct doc *doc, int err)
{
	unsigned at_level = 1u << c->level;
	uint32_t len = 0;
	int r = 0;

	if (c->visitor) {
		r = c->visitor->map(c->visitor->arg, &want);
		++*c->visitor->done;
	}
	if (r != 0)
		return r;
	if (err == 0 && !doc->body)
		return damage_add(c->damage, COLL_MAPS, &want, DAMAGE_MISSING);
	if (err == 0) {
		doc->coll = COLL_MAPS;
		err = fetcher_decode(w->fetcher, &want, c->level, doc, &len);
	}
	if (err == -EBADMSG)
		return damage_add(c->damage, COLL_MAPS, &want, at_level);
	if (err < 0)
		return err;
	return c->level ? add_children(c, w->fetcher->plain)
			: add_chunks(w, w->fetcher->plain, len);
}

static int look_up(struct reach *c, struct worker *w, size_t i, size_t n)
{
	return store_exists_many(
		c->repo->store, COLL_CHUNKS, w->chunks.v + i, n, w->there + i);
}

static int note_chunk(
	struct reach *c, const struct worker *w, size_t i, unsigned flags)
{
	struct digest chunk;

	memcpy(chunk.b, w->chunks.v[i].b, sizeof(chunk.b));
	return damage_add(c->damage, COLL_CHUNKS, &chunk, flags);
}

/* One damaged entry of an index fails the look-up of all. */
static int look_up_singly(struct reach *c, struct worker *w)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < w->chunks.n; i++) {
		r = look_up(c, w, i, 1);
		if (r == -EBADMSG) {
			w->there[i] = true;
			r = note_chunk(c, w, i, DAMAGE_CHUNK);
		}
	}
	return r;
}

/* Looks up the chunks that were gathered. */
static int check_present(struct reach *c, struct worker *w)
{
	size_t n = w->chunks.n;
	int r;

	if (n == 0)
		return 0;
	w->n_chunks += n;
	if (c->visitor) {
		w->chunks.n = 0;
		return c->visitor->chunks(c->visitor->arg, w->chunks.v, n);
	}
	if (n > w->there_cap) {
		free(w->there);
		w->there_cap = 0;
		w->there = malloc(n * sizeof(*w->there));
		if (!w->there)
			return fail(ENOMEM, "maps: %m");
		w->there_cap = n;
	}
	r = look_up(c, w, 0, n);
	if (r == -EBADMSG)
		r = look_up_singly(c, w);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (!w->there[i])
			r = note_chunk(c, w, i, DAMAGE_MISSING);
	w->chunks.n = 0;
	return r;
}

static int check_batch(void *arg, uint64_t batch, unsigned thread)
{
	struct reach *c = arg;
	struct worker *w = &c->workers[thread];
	const struct digest_set *maps = &c->maps[c->level];
	size_t first = batch * MAPS_AT_ONCE;
	size_t n = MIN_OF(maps->items.n - first, (size_t)MAPS_AT_ONCE);
	struct doc docs[MAPS_AT_ONCE];
	int errs[MAPS_AT_ONCE];
	int r = c->cancel && *c->cancel ? -ECANCELED : 0;

	for (size_t i = 0; i < n; i++)
		w->maps[i] = key_of(maps->items.v[first + i].digest.b,
			sizeof(struct digest));
	if (r == 0)
		r = store_get_many(
			c->repo->store, COLL_MAPS, w->maps, n, docs, errs);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (r == 0)
			r = check_map(c, w, maps->items.v[first + i].digest,
				&docs[i], errs[i]);
		if (errs[i] == 0)
			doc_fini(&docs[i]);
	}
	return r < 0 ? r : check_present(c, w);
}

int reach_run(struct reach *c, uint64_t *ret_maps, uint64_t *ret_chunks)
{
	uint64_t n_maps = 0, n_chunks = 0;

	for (unsigned level = MAP_LEVELS_MAX; level-- > 0;) {
		size_t n = c->maps[level].items.n;
		int r;

		c->level = level;
		n_maps += n;
		r = parallel_for(c->n_threads,
			round_up(n, MAPS_AT_ONCE) / MAPS_AT_ONCE, check_batch,
			c);
		if (r < 0)
			return r;
		digest_set_fini(&c->maps[level]);
	}
	for (unsigned i = 0; i < c->n_threads; i++)
		n_chunks += c->workers[i].n_chunks;
	*ret_maps = n_maps;
	*ret_chunks = n_chunks;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/carry.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "repo/batch.h"
#include "repo/fetch.h"
#include "repo/listing.h"
#include "repo/mapbuild.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/monotonic.h"
#include "src/pool.h"
#include "src/url.h"

#define ROUND 512u /* leaves between two flushes: 2 GiB of a disk */
#define GROUP 16u  /* of them at once: some 1000 chunks to ask for */
#define SLICE 16u  /* chunks read at once; where bytes a second are limited: */
#define SLICE_SLOW 4u
#define NODES 256u
#define BATCH_TOTAL (60u << 20) /* of all threads together */
#define BATCH_MAX (8u << 20)
#define BATCH_MIN (1u << 20)
#define BATCH_NODES (4u << 20)
#define CLAIMS_MAX (1u << 20)
#define PAUSE_NS 100000000

static_assert(NODES * (MAP_FAN * sizeof(struct digest) + 256) <= BATCH_NODES,
	"a round's nodes are not flushed before its leaves");

/* What a thread has to itself. */
struct worker {
	struct fetcher *fetcher;
	struct batch *batch; /* NULL: dry */
	struct leaf leaf;
	struct key maps[GROUP]; /* of a group's leaves */
	struct keys keys;       /* chunks that a group's leaves name */
	struct vec(uint32_t) lens;
	bool *there;
	size_t there_cap;
	struct carry_stats dry;
};

struct leaf_todo {
	struct digest digest;
	uint64_t index;
};

struct carry {
	struct carry_params params;
	struct worker *workers;
	unsigned n_threads;
	struct batch *nodes; /* NULL: dry */
	unsigned n_nodes;    /* since the last flush */
	struct carry_stats stats;
	_Atomic bool source_bad;

	/* the disk under way */
	uint64_t size;
	struct map_base *base;
	uint8_t packed[MAP_LEVELS_MAX][MAP_PACKED_MAX];
	unsigned n;
	struct leaf_todo leaves[ROUND];

	pthread_mutex_t lock; /* of params.claimed */
};

static bool cancelled(const struct carry *c)
{
	return c->params.cancel && atomic_load(c->params.cancel);
}

/* LEN bytes have come: keeps to the limit. */
static int pace(struct carry *c, uint64_t len)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	double until = rate_take(c->params.rate, len);

	while (until > 0 && monotonic_seconds() < until) {
		double left = until - monotonic_seconds();
		struct timespec rest = { .tv_nsec = (long)(left * 1e9) };

		if (cancelled(c))
			return -ECANCELED;
		if (c->params.writer)
			writer_beat(c->params.writer);
		if (left > 0)
			nanosleep(left < 0.1 ? &rest : &pause, NULL);
	}
	return cancelled(c) ? -ECANCELED : 0;
}

/* What reading from the source returned; a bad place of its disk is damage. */
static int source_error(struct carry *c, int err)
{
	bool local = url_directory(c->params.from->url) != NULL;

	if (err != -EBADMSG && err != -ENOENT && !(err == -EIO && local))
		return err;
	atomic_store(&c->source_bad, true);
	return -EBADMSG;
}

static int missing(struct carry *c, enum coll coll, const struct key *key)
{
	struct digest d;
	char hex[DIGEST_HEX];

	memcpy(d.b, key->b, sizeof(d.b));
	log_error("%s %.16s…: missing from the repository", fetch_noun(coll),
		digest_hex(&d, hex));
	return source_error(c, -ENOENT);
}

static int no_memory(void)
{
	return fail(ENOMEM, "copy: %m");
}

static void free_docs(struct doc *docs, const int *errs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (errs[i] == 0)
			doc_fini(&docs[i]);
}

/* N documents, all of them; free_docs() if it returns 0. */
static int read_docs(struct carry *c, enum coll coll, const struct key *keys,
	size_t n, struct doc *docs)
{
	int errs[GROUP > SLICE ? GROUP : SLICE] = { 0 };
	uint64_t len = 0;
	int r = store_get_many(
		c->params.from->store, coll, keys, n, docs, errs);

	if (r < 0)
		return source_error(c, r);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (errs[i] < 0)
			r = source_error(c, errs[i]);
		else if (!docs[i].body)
			r = missing(c, coll, &keys[i]);
		else
			len += docs[i].len;
	}
	if (r == 0)
		r = pace(c, len);
	if (r < 0)
		free_docs(docs, errs, n);
	return r;
}

static int rely(struct carry *c, const struct key *keys, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && c->params.writer && i < n; i++) {
		struct digest d;

		memcpy(d.b, keys[i].b, sizeof(d.b));
		r = writer_rely(c->params.writer, &d, 1);
	}
	return r;
}

/* Looked up among the condemned first, then asked for: never the other way. */
static int ask(struct carry *c, enum coll coll, const struct key *keys,
	size_t n, bool *ret)
{
	int r = rely(c, keys, n);

	return r < 0 ? r
		     : store_exists_many(
			       c->params.to->store, coll, keys, n, ret);
}

/* A document as it came, into the batch; MAX is what one of its kind may be. */
static int put(struct carry *c, struct worker *w, const struct doc *doc,
	enum coll coll, uint32_t max, uint32_t plain)
{
	struct digest d;
	uint8_t *room;
	int r;

	memcpy(d.b, doc->key.b, sizeof(d.b));
	if (doc->len > max) {
		char hex[DIGEST_HEX];

		log_error("%s %.16s…: has %u bytes where %u are most",
			fetch_noun(coll), digest_hex(&d, hex), doc->len, max);
		return source_error(c, -EBADMSG);
	}
	r = batch_room(w->batch, max, &room);
	if (r < 0)
		return r;
	memcpy(room, doc->body, doc->len);
	return batch_add(w->batch, coll, &d, doc->len, plain);
}

static int bring_chunk(struct carry *c, struct worker *w, struct doc *doc,
	const struct key *key)
{
	struct digest want;
	uint32_t len;
	int r;

	memcpy(want.b, key->b, sizeof(want.b));
	doc->coll = COLL_CHUNKS;
	doc->key = *key;
	r = fetcher_decode(w->fetcher, &want, 0, doc, &len);
	return r < 0 ? source_error(c, r)
		     : put(c, w, doc, COLL_CHUNKS, CHUNK_BODY_MAX, len);
}

static int bring_chunks(struct carry *c, struct worker *w)
{
	size_t slice = c->params.rate->per_second ? SLICE_SLOW : SLICE;
	int r = 0;

	for (size_t i = 0; r == 0 && i < w->keys.n; i += slice) {
		static const int none[SLICE];
		size_t n = MIN_OF(w->keys.n - i, slice);
		struct doc docs[SLICE];

		r = read_docs(c, COLL_CHUNKS, w->keys.v + i, n, docs);
		if (r < 0)
			break;
		for (size_t k = 0; r == 0 && k < n; k++)
			r = bring_chunk(c, w, &docs[k], &w->keys.v[i + k]);
		free_docs(docs, none, n);
		if (c->params.writer)
			writer_beat(c->params.writer);
	}
	return r;
}

/* 1: it is ours to ensure. 0: it is ensured, or another thread is at it. */
static int claim(struct carry *c, const struct digest *d)
{
	int r;

	pthread_mutex_lock(&c->lock);
	r = digest_set_add(c->params.claimed, d, 0);
	pthread_mutex_unlock(&c->lock);
	return r;
}

static int gather(struct carry *c, struct worker *w, uint32_t len)
{
	int r = leaf_unpack(w->fetcher->plain, len, &w->leaf);

	if (r < 0)
		return source_error(c, r);
	for (uint32_t i = 0; r >= 0 && i < w->leaf.n; i++) {
		const struct leaf_extent *e = &w->leaf.v[i];

		r = e->kind == BLK_DATA ? claim(c, &e->chunk) : 0;
		if (r == 1 &&
			(vec_add(&w->keys,
				 key_of(e->chunk.b, sizeof(e->chunk.b))) < 0 ||
				vec_add(&w->lens, e->len) < 0))
			r = no_memory();
	}
	return MIN_OF(r, 0);
}

/* Leaves in w->keys those that are not there. */
static int ask_chunks(struct carry *c, struct worker *w)
{
	size_t n = w->keys.n, kept = 0;
	int r;

	if (n == 0)
		return 0;
	if (n > w->there_cap) {
		free(w->there);
		w->there_cap = 0;
		w->there = malloc(n * sizeof(*w->there));
		if (!w->there)
			return no_memory();
		w->there_cap = n;
	}
	r = ask(c, COLL_CHUNKS, w->keys.v, n, w->there);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (w->there[i])
			continue;
		w->keys.v[kept] = w->keys.v[i];
		w->lens.v[kept++] = w->lens.v[i];
	}
	w->keys.n = w->lens.n = kept;
	return r;
}

/* A dry run: unless it would be there by now. */
static int count_map(
	struct carry *c, const uint8_t *key, struct carry_stats *stats)
{
	struct digest d;
	int r;

	memcpy(d.b, key, sizeof(d.b));
	r = claim(c, &d);
	stats->n_maps += r == 1;
	return MIN_OF(r, 0);
}

static int bring_group(
	struct carry *c, struct worker *w, struct doc *docs, size_t n)
{
	const struct key *maps = w->maps;
	bool there[GROUP];
	int r = 0;

	w->keys.n = w->lens.n = 0;
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct digest want;
		uint32_t len;

		memcpy(want.b, maps[i].b, sizeof(want.b));
		docs[i].coll = COLL_MAPS;
		docs[i].key = maps[i];
		r = fetcher_decode(w->fetcher, &want, 0, &docs[i], &len);
		r = r < 0 ? source_error(c, r) : gather(c, w, len);
	}
	if (r == 0)
		r = ask_chunks(c, w);
	for (size_t i = 0; r == 0 && !w->batch && i < w->keys.n; i++) {
		w->dry.n_chunks++;
		w->dry.plain += w->lens.v[i];
	}
	if (r == 0 && w->batch)
		r = bring_chunks(c, w);
	/* bottom-up */
	if (r == 0)
		r = ask(c, COLL_MAPS, maps, n, there);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (there[i])
			continue;
		if (w->batch)
			r = put(c, w, &docs[i], COLL_MAPS, MAP_PACKED_MAX + 64,
				0);
		else
			r = count_map(c, maps[i].b, &w->dry);
	}
	return r;
}

/* Bytes of the disk that the map of LEVEL at INDEX is about. */
static uint64_t span(const struct carry *c, unsigned level, uint64_t index)
{
	uint64_t len = (uint64_t)WINDOW_LEN << (8 * level);
	uint64_t begin = index * len;

	return begin < c->size ? MIN_OF(c->size - begin, len) : 0;
}

static void count_done(struct carry *c, unsigned level, uint64_t index)
{
	if (c->params.done)
		atomic_fetch_add(c->params.done, span(c, level, index));
}

static int run_group(void *arg, uint64_t group, unsigned thread)
{
	static const int none[GROUP];
	struct carry *c = arg;
	struct worker *w = &c->workers[thread];
	size_t first = group * GROUP;
	size_t n = MIN_OF(c->n - first, (size_t)GROUP);
	struct doc docs[GROUP];
	int r;

	if (cancelled(c))
		return -ECANCELED;
	for (size_t i = 0; i < n; i++)
		w->maps[i] = key_of(
			c->leaves[first + i].digest.b, sizeof(struct digest));
	r = read_docs(c, COLL_MAPS, w->maps, n, docs);
	if (r < 0)
		return r;
	r = bring_group(c, w, docs, n);
	free_docs(docs, none, n);
	for (size_t i = 0; r == 0 && i < n; i++)
		count_done(c, 0, c->leaves[first + i].index);
	if (r == 0 && c->params.writer)
		writer_beat(c->params.writer);
	return r;
}

static int flush_one(void *arg, uint64_t i, unsigned thread)
{
	struct carry *c = arg;

	(void)thread;
	return batch_flush(c->workers[i].batch);
}

static void take_stats(struct carry *c, struct batch *b)
{
	struct batch_stats s = batch_take_stats(b);

	c->stats.n_chunks += s.n_chunks;
	c->stats.n_maps += s.n_maps;
	c->stats.plain += s.plain;
	c->stats.stored += s.stored;
}

static void take_dry(struct carry *c, struct worker *w)
{
	c->stats.n_chunks += w->dry.n_chunks;
	c->stats.n_maps += w->dry.n_maps;
	c->stats.plain += w->dry.plain;
	memset(&w->dry, 0, sizeof(w->dry));
}

/* The leaves that were gathered, then the nodes that wait for them. */
static int run_round(struct carry *c)
{
	int r = parallel_for(
		c->n_threads, round_up(c->n, GROUP) / GROUP, run_group, c);

	if (r == 0 && c->nodes)
		r = parallel_for(c->n_threads, c->n_threads, flush_one, c);
	if (r == 0 && c->nodes)
		r = batch_flush(c->nodes);
	for (unsigned i = 0; i < c->n_threads; i++) {
		take_dry(c, &c->workers[i]);
		if (c->nodes)
			take_stats(c, c->workers[i].batch);
	}
	if (c->nodes)
		take_stats(c, c->nodes);
	c->n = 0;
	c->n_nodes = 0;
	/* what was inserted is found there from now on */
	if (c->params.claimed->items.n > CLAIMS_MAX)
		digest_set_fini(c->params.claimed);
	return r;
}

static int add_leaf(struct carry *c, const struct digest *d, uint64_t index)
{
	int r = c->n == ROUND ? run_round(c) : 0;

	c->leaves[c->n++] = (struct leaf_todo){ *d, index };
	return r;
}

static int add_node(struct carry *c, const struct digest *d,
	const uint8_t *packed, uint32_t len)
{
	struct key key = key_of(d->b, sizeof(d->b));
	uint8_t *room;
	bool there;
	int r = c->n_nodes == NODES ? run_round(c) : 0;

	if (r == 0)
		r = ask(c, COLL_MAPS, &key, 1, &there);
	if (r < 0 || there)
		return r;
	if (!c->nodes)
		return count_map(c, d->b, &c->stats);
	c->n_nodes++;
	r = batch_room(c->nodes, MAP_PACKED_MAX + 64, &room);
	return r < 0 ? r
		     : batch_add(c->nodes, COLL_MAPS, d,
			       map_body(packed, len, room), 0);
}

static int walk(struct carry *c, const struct digest *d, unsigned level,
	uint64_t index);

static int walk_node(
	struct carry *c, const struct digest *d, unsigned level, uint64_t index)
{
	uint8_t *packed = c->packed[level];
	uint32_t len;
	int r = map_load(c->params.from, d, level, packed, &len);

	if (r < 0)
		return source_error(c, r);
	r = pace(c, len);
	for (unsigned i = 0; r == 0 && i < MAP_FAN; i++) {
		struct digest child = node_child(packed, i);

		if (digest_is_none(&child))
			count_done(c, level - 1, index * MAP_FAN + i);
		else
			r = walk(c, &child, level - 1, index * MAP_FAN + i);
	}
	return r < 0 ? r : add_node(c, d, packed, len);
}

static int walk(
	struct carry *c, const struct digest *d, unsigned level, uint64_t index)
{
	struct digest base = map_base_digest(c->base, level, index);

	if (c->params.trust_base && digest_eq(&base, d)) {
		count_done(c, level, index);
		return 0;
	}
	return level ? walk_node(c, d, level, index) : add_leaf(c, d, index);
}

int carry_disk(struct carry *c, const struct carry_disk *disk)
{
	static const struct digest none;
	scoped(map_base_freep) struct map_base *base = NULL;
	int r = map_base_new(disk->base_repo ?: c->params.to,
		disk->base_root ?: &none,
		disk->base_root ? disk->base_size : disk->size, &base);

	if (r < 0)
		return r;
	c->size = disk->size;
	c->base = base;
	c->n = 0;
	c->n_nodes = 0;
	if (digest_is_none(disk->root))
		count_done(c, map_root_level(disk->size), 0);
	else
		r = walk(c, disk->root, map_root_level(disk->size), 0);
	if (r == 0 && (c->n || c->n_nodes))
		r = run_round(c);
	c->base = NULL;
	return r;
}

static int make_worker(struct carry *c, struct worker *w)
{
	const struct carry_params *p = &c->params;
	size_t bound = MIN_OF(BATCH_TOTAL / p->n_threads, BATCH_MAX);
	int r = fetcher_new(p->from, &w->fetcher);

	/* so that what took long to come is not lost with the process */
	if (p->rate->per_second)
		bound = p->rate->per_second < BATCH_MIN ? BATCH_MIN
			: p->rate->per_second < bound
				? (size_t)p->rate->per_second
				: bound;
	if (r == 0 && p->writer)
		r = batch_new(
			p->to, writer_generation(p->writer), bound, &w->batch);
	return r;
}

int carry_new(const struct carry_params *params, struct carry **ret)
{
	scoped(carry_freep) struct carry *c = calloc(1, sizeof(*c));
	int r = 0;

	if (!c)
		return no_memory();
	pthread_mutex_init(&c->lock, NULL);
	c->params = *params;
	c->workers = calloc(params->n_threads, sizeof(*c->workers));
	if (!c->workers)
		return no_memory();
	while (r == 0 && c->n_threads < params->n_threads)
		r = make_worker(c, &c->workers[c->n_threads++]);
	if (r == 0 && params->writer)
		r = batch_new(params->to, writer_generation(params->writer),
			BATCH_NODES, &c->nodes);
	if (r == 0)
		*ret = take(c);
	return r;
}

void carry_free(struct carry *c)
{
	for (unsigned i = 0; i < c->n_threads; i++) {
		struct worker *w = &c->workers[i];

		if (w->fetcher)
			fetcher_free(w->fetcher);
		if (w->batch)
			batch_free(w->batch);
		vec_fini(&w->keys);
		vec_fini(&w->lens);
		free(w->there);
	}
	if (c->nodes)
		batch_free(c->nodes);
	free(c->workers);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

struct carry_stats carry_stats(const struct carry *c)
{
	return c->stats;
}

bool carry_source_bad(const struct carry *c)
{
	return atomic_load(&c->source_bad);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/gc_condemn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "repo/condemned.h"
#include "src/log.h"

#define BATCH 2048u

struct condemning {
	struct gc_state *g;
	enum coll coll; /* being scanned */
	unsigned n;
	struct condemned found[BATCH];
	uint8_t bodies[BATCH][CONDEMNED_LEN];
	struct doc docs[BATCH];
	struct store_change changes[BATCH];
};

/*
 * There is a document already. Ours are new; one that a later collection made
 * is its own; an older one becomes ours.
 */
static int take_over(struct condemning *c, const struct condemned *mine)
{
	struct condemned old, now = *mine;
	uint8_t body[CONDEMNED_LEN];
	struct doc doc;
	int r;

	do {
		r = condemned_get(c->g->repo, &mine->digest, &old);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		if (old.sweeping || old.generation >= c->g->generation)
			return 0;
		now.version = old.version + 1;
		doc = condemned_doc(&now, body);
		r = store_replace(c->g->repo->store, &doc, old.version);
	} while (r == -ESTALE);
	return r == -ENOENT ? 0 : r;
}

static int flush(struct condemning *c)
{
	int r = 0;

	for (unsigned i = 0; i < c->n; i++) {
		c->docs[i] = condemned_doc(&c->found[i], c->bodies[i]);
		c->changes[i] = (struct store_change){ .doc = &c->docs[i],
			.insert = true };
	}
	if (c->n)
		r = store_change_many(c->g->repo->store, c->changes, c->n);
	for (unsigned i = 0; r == 0 && i < c->n; i++)
		if (c->changes[i].err == -EEXIST)
			r = take_over(c, &c->found[i]);
	c->n = 0;
	return r;
}

static void count(struct gc_state *g, const struct doc *doc)
{
	bool is_map = doc->coll == COLL_MAPS;

	*(is_map ? &g->result.n_map_docs : &g->result.n_chunks) += 1;
	*(is_map ? &g->result.n_map_bytes : &g->result.n_chunk_bytes) +=
		doc->len;
}

static int visit(void *arg, const struct doc *doc)
{
	struct condemning *c = arg;
	struct gc_state *g = c->g;
	struct digest d;
	int r = gc_cancelled(g);

	g->progress->done++;
	if (r < 0)
		return r;
	if (doc->key.len != sizeof(d.b))
		return fail(EBADMSG, "%s: a damaged key", coll_name(doc->coll));
	memcpy(d.b, doc->key.b, sizeof(d.b));
	if (doc->generation >= g->limit || bloom_has(g->bloom, &d))
		return 0;
	if (g->job->dry_run) {
		count(g, doc);
		return 0;
	}
	c->found[c->n++] = (struct condemned){ .digest = d,
		.version = 1,
		.generation = g->generation,
		.coll = doc->coll,
		.incarnation = doc->version };
	return c->n < BATCH ? 0 : flush(c);
}

static int scan(struct condemning *c, enum coll coll)
{
	bool all = c->g->byte_first == 0 && c->g->byte_last == UINT8_MAX;
	int r = 0;

	if (all)
		r = store_scan(
			c->g->repo->store, coll, NULL, SCAN_KEYS, visit, c);
	for (unsigned b = c->g->byte_first;
		!all && r == 0 && b <= c->g->byte_last; b++) {
		struct key prefix = { .len = 1, .b = { (uint8_t)b } };

		r = store_scan(
			c->g->repo->store, coll, &prefix, SCAN_KEYS, visit, c);
	}
	return r < 0 || c->g->job->dry_run ? r : flush(c);
}

/* 1: the incarnation that was condemned is there. */
static int is_there(struct gc_state *g, const struct condemned *c)
{
	struct key key = key_of(c->digest.b, sizeof(c->digest.b));
	struct doc head;
	int r = store_head_many(g->repo->store, c->coll, &key, 1, &head);

	return r < 0 ? r : head.key.len && head.version == c->incarnation;
}

/* What an earlier collection left of this part. */
static int visit_old(void *arg, const struct doc *doc)
{
	struct gc_state *g = arg;
	struct condemned c;
	int r = condemned_decode(doc, &c);

	if (r < 0)
		return r;
	if (!gc_in_part(g, &c.digest))
		return 0;
	if (c.sweeping)
		return condemned_finish(g->repo, &c);
	if (c.generation >= g->generation)
		return 0;
	r = bloom_has(g->bloom, &c.digest) ? 0 : is_there(g, &c);
	/* marked, or gone: to let go of it is always right */
	if (r == 0) {
		r = store_remove(
			g->repo->store, COLL_CONDEMNED, &doc->key, c.version);
		return r == -ENOENT || r == -ESTALE ? 0 : r;
	}
	return r < 0 ? r : 0;
}

/* Entries of the quarantine that nothing reaches, and so far of no use. */
static int find_idle(struct gc_state *g)
{
	struct quarantine q = { 0 };
	int r = quarantine_load(g->repo, &q);

	for (size_t i = 0; r == 0 && i < q.n; i++)
		if (gc_in_part(g, &q.v[i].digest) &&
			!bloom_has(g->bloom, &q.v[i].digest) &&
			vec_add(&g->idle, q.v[i]) < 0)
			r = fail(ENOMEM, "gc: %m");
	quarantine_fini(&q);
	return r;
}

int gc_condemn(struct gc_state *g)
{
	struct condemning *c;
	int r = 0;

	if (!g->job->dry_run) {
		r = find_idle(g);
		if (r == 0)
			r = store_scan(g->repo->store, COLL_CONDEMNED, NULL, 0,
				visit_old, g);
		if (r < 0)
			return r;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return fail(ENOMEM, "gc: %m");
	c->g = g;
	r = scan(c, COLL_CHUNKS);
	if (r == 0)
		r = scan(c, COLL_MAPS);
	free(c);
	return r;
}

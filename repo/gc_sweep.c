/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/gc_sweep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "repo/label.h"
#include "src/log.h"

#define BATCH 2048u

struct sweeping {
	struct gc_state *g;
	unsigned n;
	struct condemned found[BATCH];
	uint32_t len[BATCH]; /* of the document that goes */
	uint8_t bodies[BATCH][CONDEMNED_LEN];
	struct doc docs[BATCH];
	struct store_change changes[BATCH];
	struct key keys[BATCH];
	unsigned which[BATCH]; /* of found, is a change or a key of */
};

static struct key key_in(const struct condemned *c)
{
	return key_of(c->digest.b, sizeof(c->digest.b));
}

/* From here on no writer can save it. */
static int begin(struct sweeping *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		struct condemned next = s->found[i];

		next.version++;
		next.sweeping = true;
		s->docs[i] = condemned_doc(&next, s->bodies[i]);
		s->changes[i] = (struct store_change){ .doc = &s->docs[i],
			.old_version = s->found[i].version };
	}
	return store_change_many(s->g->repo->store, s->changes, s->n);
}

static void count(struct gc_state *g, const struct condemned *c, uint32_t len)
{
	bool is_map = c->coll == COLL_MAPS;

	*(is_map ? &g->result.n_map_docs : &g->result.n_chunks) += 1;
	*(is_map ? &g->result.n_map_bytes : &g->result.n_chunk_bytes) += len;
}

/* Only the incarnation that was condemned; then nobody waits for us any more.
 */
static int finish(struct sweeping *s)
{
	unsigned n = 0;
	int r;

	for (unsigned i = 0; i < s->n; i++) {
		if (s->changes[i].err == 0)
			s->which[n++] = i;
		else
			s->g->result.n_saved++;
	}
	for (unsigned k = 0; k < n; k++) {
		const struct condemned *c = &s->found[s->which[k]];

		s->changes[k] = (struct store_change){ .coll = c->coll,
			.key = key_in(c),
			.old_version = c->incarnation };
	}
	r = store_change_many(s->g->repo->store, s->changes, n);
	for (unsigned k = 0; r == 0 && k < n; k++) {
		const struct condemned *c = &s->found[s->which[k]];

		if (s->changes[k].err == 0)
			count(s->g, c, s->len[s->which[k]]);
		s->changes[k] = (struct store_change){ .coll = COLL_CONDEMNED,
			.key = key_in(c),
			.old_version = c->version + 1 };
	}
	return r < 0 ? r : store_change_many(s->g->repo->store, s->changes, n);
}

/* How long those of COLL are that go. */
static int look(struct sweeping *s, enum coll coll)
{
	unsigned n = 0;
	int r;

	for (unsigned i = 0; i < s->n; i++) {
		if (s->found[i].coll != coll)
			continue;
		s->keys[n] = key_in(&s->found[i]);
		s->which[n++] = i;
	}
	r = n ? store_head_many(s->g->repo->store, coll, s->keys, n, s->docs)
	      : 0;
	for (unsigned k = 0; r == 0 && k < n; k++)
		s->len[s->which[k]] = s->docs[k].len;
	return r;
}

static int flush(struct sweeping *s)
{
	int r = gc_cancelled(s->g);

	if (r == 0)
		r = look(s, COLL_CHUNKS);
	if (r == 0)
		r = look(s, COLL_MAPS);
	if (r == 0 && s->n)
		r = begin(s);
	if (r == 0 && s->n)
		r = finish(s);
	s->g->progress->done += s->n;
	s->n = 0;
	return r;
}

static int visit(void *arg, const struct doc *doc)
{
	struct sweeping *s = arg;
	struct condemned c;
	int r;

	if (doc->generation != s->g->generation)
		return 0;
	r = condemned_decode(doc, &c);
	if (r < 0)
		return r;
	if (c.sweeping)
		return 0;
	s->found[s->n++] = c;
	return s->n < BATCH ? 0 : flush(s);
}

int gc_sweep(struct gc_state *g)
{
	struct sweeping *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return fail(ENOMEM, "gc: %m");
	s->g = g;
	r = store_scan(g->repo->store, COLL_CONDEMNED, NULL, 0, visit, s);
	if (r == 0)
		r = flush(s);
	free(s);
	return r;
}

static int bury_point(struct gc_state *g, const struct point_id *id)
{
	struct label l;
	int r = point_bury(g->repo, id);

	if (r == 0)
		r = label_get(g->repo, id, &l);
	if (r == 0 && l.version)
		r = label_drop(g->repo, id, &l);
	if (r == 0)
		g->result.n_buried++;
	return r;
}

static int forget_roots(struct gc_state *g, const struct gc_clone *seen)
{
	struct clone c;
	size_t n = 0;
	int r;

	if (seen->gone.n == 0)
		return 0;
	do {
		r = clone_read(g->repo, &seen->id, &c);
		if (r < 0)
			return r;
		n = c.retired.n;
		r = clone_forget(g->repo, &c, seen->gone.v, seen->gone.n);
		clone_fini(&c);
	} while (r == -ESTALE);
	if (r == 0)
		g->result.n_retired += n < seen->gone.n ? n : seen->gone.n;
	return r;
}

/* What nothing names and no backup will look for. */
static int drop_idle(struct gc_state *g)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < g->idle.n; i++) {
		const struct quarantined *q = &g->idle.v[i];
		struct key key = key_of(q->digest.b, sizeof(q->digest.b));

		if (q->version == 0)
			continue;
		r = store_remove(
			g->repo->store, COLL_QUARANTINE, &key, q->version);
		if (r == -ENOENT || r == -ESTALE)
			r = 0;
	}
	return r;
}

int gc_bury(struct gc_state *g)
{
	const struct gc_roots *f = &g->first;
	int r = 0;

	for (size_t i = 0; r == 0 && i < f->dead.n; i++)
		r = bury_point(g, &f->dead.v[i]);
	for (size_t i = 0; r == 0 && i < f->clones.n; i++)
		r = forget_roots(g, &f->clones.v[i]);
	return r < 0 ? r : drop_idle(g);
}

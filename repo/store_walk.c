/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment is read from its beginning to the committed length it had when the
 * walk began, and a record is visited if the index says that it is the live
 * one. Two things can be missed so, and are looked for afterwards:
 *
 *   - what is damaged: where a stretch cannot be parsed, or fewer live bytes
 *     were met than the table says, the index is asked for what it has there;
 *   - what compaction moved from a segment ahead to one behind: noticed by a
 *     record whose document has another place, or a segment that is gone; then
 *     what was appended meanwhile is walked, too. Such a document may be met
 *     twice.
 */
#define _GNU_SOURCE
#include "repo/store_walk.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "repo/store_read.h"
#include "src/log.h"
#include "src/pool.h"

#define MAX_PASSES 8
#define LOST_BATCH 256

struct offsets vec(uint64_t);

/* A segment where something is amiss, and what was visited there. */
struct suspect {
	uint32_t id;
	uint64_t end;
	struct offsets visited; /* rising */
};

struct walk {
	struct embedded *e;
	enum coll coll;
	store_walk_visit visit;
	void *arg;
	struct segment_rows rows, before; /* of this pass, of the last */
	_Atomic int result;               /* of the visit that ended it */
	_Atomic bool moved;
	pthread_mutex_t lock;
	struct vec(struct suspect) suspects; /* lock */
};

/* Of one segment, on one thread. */
struct stretch {
	const struct segment_row *row;
	unsigned thread;
	uint64_t live; /* bytes met */
	bool suspect;
	struct offsets visited;
};

static int walk_visit(
	struct walk *w, const struct doc *d, int err, unsigned thread)
{
	int none = 0;
	int r = w->visit(w->arg, d, err, thread);

	if (r == 0)
		return 0;
	atomic_compare_exchange_strong(&w->result, &none, r);
	return -ECANCELED;
}

/* By its key; -EBADMSG, logged, is for the visit to know. */
static int visit_fetched(struct walk *w, const struct key *key,
	const struct entry *at, unsigned thread)
{
	struct doc d = entry_doc(w->coll, key, at);
	struct lookup f = { .key = key, .at = *at, .ret = &d };
	int r;

	embedded_fetch(w->e, w->coll, &f);
	if (f.err == -ENOENT)
		return 0;
	if (f.err < 0 && f.err != -EBADMSG)
		return f.err;
	r = walk_visit(w, &d, f.err, thread);
	if (f.err == 0)
		doc_fini(&d);
	return r;
}

static int walk_record(struct walk *w, struct stretch *s,
	const struct record *rec, const uint8_t *body)
{
	struct entry at;
	struct doc d;
	int r;

	if (rec->kind != RECORD_PUT || coll_is_inline(rec->coll))
		return 0;
	r = embedded_find(w->e, rec->coll, &rec->key, &at);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (at.segment != s->row->id || at.off != rec->off) {
		if (at.version == rec->version && rec->coll == w->coll)
			atomic_store(&w->moved, true);
		return 0;
	}
	s->live += rec->len;
	if (rec->coll != w->coll)
		return 0;
	if (vec_add(&s->visited, rec->off) < 0)
		return fail(ENOMEM, "%s: %m", w->e->dir->path);
	if (!body || at.version != rec->version || at.len != rec->body_len)
		return visit_fetched(w, &rec->key, &at, s->thread);
	d = entry_doc(rec->coll, &rec->key, &at);
	d.body = body;
	return walk_visit(w, &d, 0, s->thread);
}

/* Where this pass begins in a segment: where the last one ended. */
static uint64_t walk_from(const struct walk *w, uint32_t id)
{
	for (size_t i = 0; i < w->before.n; i++)
		if (w->before.v[i].id == id && w->before.v[i].committed)
			return w->before.v[i].committed;
	return SEGMENT_HEADER;
}

static int walk_read(struct walk *w, struct stretch *s, const struct segfile *f,
	uint64_t from)
{
	struct segment_scan scan;
	struct record rec;
	const uint8_t *body;
	int r;

	segment_scan_init(&scan, f->fd, f->seed, from, s->row->committed);
	while ((r = segment_scan_next(&scan, &rec, &body)) > 0) {
		if (rec.kind == RECORD_DAMAGED) {
			s->suspect = true;
			continue;
		}
		r = walk_record(w, s, &rec, body);
		if (r < 0)
			break;
	}
	segment_scan_fini(&scan);
	if (r < 0 && r != -ECANCELED)
		log_debug("store", "segment %08x: walk: %d", f->id, r);
	return r;
}

/* Fewer than were there at the beginning and are there now? */
static int walk_compare(struct walk *w, struct stretch *s)
{
	struct segment_row now;
	struct index_txn t;
	int r = index_read(w->e->index, &t);

	if (r < 0)
		return r;
	r = index_row(&t, s->row->id, &now);
	index_read_end(&t);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (s->live < s->row->live && s->live < now.live)
		s->suspect = true;
	return 0;
}

static int walk_suspect(struct walk *w, struct stretch *s)
{
	struct suspect suspect = { .id = s->row->id,
		.end = s->row->committed,
		.visited = s->visited };
	int r;

	pthread_mutex_lock(&w->lock);
	r = vec_add(&w->suspects, suspect);
	pthread_mutex_unlock(&w->lock);
	if (r < 0)
		return fail(ENOMEM, "%s: %m", w->e->dir->path);
	s->visited = (struct offsets){ 0 };
	return 0;
}

static int walk_segment(void *arg, uint64_t i, unsigned thread)
{
	struct walk *w = arg;
	struct stretch s = { .row = &w->rows.v[i], .thread = thread };
	uint64_t from = walk_from(w, s.row->id);
	struct segfile *f;
	int r;

	if (!(s.row->colls & 1u << w->coll) || s.row->committed <= from)
		return 0;
	r = segset_get(w->e->segs, s.row->id, &f);
	if (r == -ENOENT) {
		atomic_store(&w->moved, true);
		return walk_suspect(w, &s);
	}
	if (r < 0)
		return r;
	r = walk_read(w, &s, f, from);
	segset_put(w->e->segs, f);
	if (r == 0 && from == SEGMENT_HEADER)
		r = walk_compare(w, &s);
	if (r == 0 && s.suspect)
		r = walk_suspect(w, &s);
	vec_fini(&s.visited);
	return r;
}

static bool offsets_have(const struct offsets *o, uint64_t off)
{
	size_t lo = 0, hi = o->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (o->v[mid] == off)
			return true;
		if (o->v[mid] < off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

static bool is_unseen(void *arg, const struct entry *at)
{
	const struct walk *w = arg;
	bool suspected = false;

	for (size_t i = 0; i < w->suspects.n; i++) {
		const struct suspect *s = &w->suspects.v[i];

		if (s->id != at->segment || at->off >= s->end)
			continue;
		if (offsets_have(&s->visited, at->off))
			return false;
		suspected = true;
	}
	return suspected;
}

/* What the index has in suspect segments and nobody met there. */
static int walk_lost(struct walk *w)
{
	struct index_scan at = {
		.coll = w->coll, .want = is_unseen, .want_arg = w
	};
	scoped(freep) struct index_item *items =
		calloc(LOST_BATCH, sizeof(*items));
	int r = items ? 0 : fail(ENOMEM, "%s: %m", w->e->dir->path);

	while (r == 0 && !at.done) {
		struct index_txn t;
		size_t n = 0;

		r = index_read(w->e->index, &t);
		if (r < 0)
			break;
		r = index_scan(&t, &at, items, LOST_BATCH, &n);
		index_read_end(&t);
		for (size_t i = 0; i < n && r == 0; i++)
			r = visit_fetched(w, &items[i].key, &items[i].at, 0);
	}
	return r;
}

static int by_length(const void *pa, const void *pb)
{
	const struct segment_row *a = pa, *b = pb;

	if (a->committed != b->committed)
		return a->committed > b->committed ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

/* The longest first: who comes to the last one late works alone. */
static void sort_rows(struct segment_rows *rows)
{
	if (rows->n)
		qsort(rows->v, rows->n, sizeof(*rows->v), by_length);
}

static int walk_passes(struct walk *w, unsigned n_threads)
{
	int r = 0;

	for (unsigned pass = 0; pass < MAX_PASSES && r == 0; pass++) {
		vec_fini(&w->before);
		w->before = w->rows;
		w->rows = (struct segment_rows){ 0 };
		atomic_store(&w->moved, false);
		r = index_list_rows(w->e->index, &w->rows);
		sort_rows(&w->rows);
		if (r == 0)
			r = parallel_for(n_threads, w->rows.n, walk_segment, w);
		if (!atomic_load(&w->moved))
			break;
	}
	return r == 0 && w->suspects.n ? walk_lost(w) : r;
}

struct inline_visit {
	store_walk_visit visit;
	void *arg;
};

static int visit_inline(void *arg, const struct doc *doc)
{
	const struct inline_visit *v = arg;

	return v->visit(v->arg, doc, 0, 0);
}

int embedded_walk(struct store *s, enum coll c, unsigned n_threads,
	store_walk_visit visit, void *arg)
{
	struct walk w = {
		.e = handle_of(s)->e, .coll = c, .visit = visit, .arg = arg
	};
	int r;

	if (coll_is_inline(c)) {
		struct inline_visit v = { visit, arg };

		return embedded_scan(s, c, NULL, 0, visit_inline, &v);
	}
	pthread_mutex_init(&w.lock, NULL);
	r = walk_passes(&w, n_threads);
	for (size_t i = 0; i < w.suspects.n; i++)
		vec_fini(&w.suspects.v[i].visited);
	vec_fini(&w.suspects);
	vec_fini(&w.rows);
	vec_fini(&w.before);
	pthread_mutex_destroy(&w.lock);
	return r == -ECANCELED ? atomic_load(&w.result) : r;
}

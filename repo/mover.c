/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/mover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "repo/journal.h"
#include "src/bytes.h"
#include "src/log.h"

#define BULK_BYTES (16u << 20)
#define BULK_DOCS 8192u
#define CHANGE_BYTES (1u << 20) /* of one transaction of the journal */
#define CHANGE_DOCS 1024u

struct item {
	struct record rec;  /* as it was: its place, too */
	size_t body;        /* in the heap */
	struct entry fresh; /* where it is now; segment 0: not moved */
};

/* What waits to be moved together. */
struct load {
	struct vec(struct item) items;
	struct vec(uint8_t) heap; /* bodies */
};

struct mover {
	struct embedded *e;
	uint32_t from;
	uint64_t bytes;
	/* chunks, maps, and what goes to the journal */
	struct load chunks, maps, changes;
	/* the one being moved */
	const struct load *load;
	struct slot *slot;
	enum coll coll;
	struct journal journal;
};

int mover_new(struct embedded *e, uint32_t from, struct mover **ret)
{
	struct mover *m = calloc(1, sizeof(*m));

	if (!m)
		return fail(ENOMEM, "%s: %m", e->dir->path);
	m->e = e;
	m->from = from;
	*ret = m;
	return 0;
}

static void load_fini(struct load *l)
{
	vec_fini(&l->items);
	vec_fini(&l->heap);
}

void mover_free(struct mover *m)
{
	load_fini(&m->chunks);
	load_fini(&m->maps);
	load_fini(&m->changes);
	free(m);
}

uint64_t mover_bytes(const struct mover *m)
{
	return m->bytes;
}

/* Is it still where it was read? */
static int still_there(struct mover *m, struct index_txn *t,
	const struct item *i, struct entry *ret_old)
{
	int r = index_get(t, i->rec.coll, &i->rec.key, ret_old);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return ret_old->segment == m->from && ret_old->off == i->rec.off;
}

static int bulk_publish(struct index_txn *t, void *arg)
{
	struct mover *m = arg;
	struct segment_row row;
	int r = index_row(t, m->slot->id, &row);

	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	row.committed = m->slot->append.end;
	row.colls |= (uint16_t)(1u << m->coll);
	row.sealed |= row.committed >= segment_limit(m->e->dir);
	r = index_set_row(t, &row);
	for (size_t k = 0; r == 0 && k < m->load->items.n; k++) {
		const struct item *i = &m->load->items.v[k];
		struct entry old;

		r = still_there(m, t, i, &old);
		if (r == 1)
			r = index_replace(
				t, m->coll, &i->rec.key, &old, &i->fresh);
	}
	return r;
}

static int bulk_append(struct mover *m)
{
	struct segment_append *a = &m->slot->append;

	for (size_t k = 0; k < m->load->items.n; k++) {
		struct item *i = &m->load->items.v[k];
		struct record rec = i->rec;
		int r = segment_append(a, &rec, m->load->heap.v + i->body);

		if (r < 0)
			return r;
		m->bytes += rec.len;
		i->fresh = (struct entry){ .segment = m->slot->id,
			.len = rec.body_len,
			.off = rec.off,
			.version = rec.version,
			.generation = rec.generation };
	}
	return segment_append_flush(a);
}

/* As in store_write.c, but in the place of what is there. */
static int move_bulk(struct mover *m, enum coll coll)
{
	struct slots *slots = m->e->slots;
	int r = slots_take(slots, coll, &m->slot);

	if (r < 0)
		return r;
	m->coll = coll;
	r = bulk_append(m);
	if (r == -ENOSPC || r == -ENOMEM) {
		slots_give(slots, m->slot, SLOT_TORN);
		return r;
	}
	if (r < 0) {
		fail(-r, "%s/segments/%08x.seg: write: %m", m->e->dir->path,
			m->slot->id);
		slots_give(slots, m->slot, SLOT_BROKEN);
		return r;
	}
	r = index_update(m->e->index, bulk_publish, m);
	if (r == 0)
		m->slot->committed = m->slot->append.end;
	slots_give(slots, m->slot, r == 0 ? SLOT_GOOD : SLOT_UNPUBLISHED);
	return r;
}

/* What a removal removed may be on disk in a segment that is older still. */
static int journal_remove(
	struct mover *m, struct index_txn *t, const struct item *i)
{
	struct record rec = i->rec;
	int r = journal_begin(&m->journal, t);

	return r < 0 ? r : journal_append(&m->journal, &rec, "", false);
}

static int journal_put(
	struct mover *m, struct index_txn *t, const struct item *i)
{
	struct record rec = i->rec;
	struct entry old, fresh;
	int r = still_there(m, t, i, &old);

	if (r <= 0)
		return r;
	r = journal_begin(&m->journal, t);
	if (r == 0)
		r = journal_append(
			&m->journal, &rec, m->load->heap.v + i->body, false);
	if (r < 0)
		return r;
	fresh = old;
	fresh.segment = m->journal.row.id;
	fresh.off = rec.off;
	m->bytes += rec.len;
	return index_replace(t, rec.coll, &rec.key, &old, &fresh);
}

static int journal_move(struct index_txn *t, void *arg)
{
	struct mover *m = arg;
	int r = 0;

	journal_init(&m->journal, m->e);
	for (size_t k = 0; r == 0 && k < m->load->items.n; k++) {
		const struct item *i = &m->load->items.v[k];

		r = i->rec.kind == RECORD_PUT ? journal_put(m, t, i)
					      : journal_remove(m, t, i);
	}
	if (r == 0)
		r = journal_end(&m->journal, t);
	journal_fini(&m->journal);
	return r;
}

static int move_changes(struct mover *m)
{
	for (unsigned attempt = 0;; attempt++) {
		int r = index_update(m->e->index, journal_move, m);

		if (!journal_failed(&m->journal) || attempt == 2)
			return r == -ENOENT ? -EIO : r;
		r = journal_next(m->e, m->journal.io_error);
		if (r < 0)
			return r;
	}
}

static int move(struct mover *m, struct load *l)
{
	int r = 0;

	m->load = l;
	if (l->items.n == 0)
		return 0;
	if (l == &m->changes)
		r = move_changes(m);
	else
		r = move_bulk(m, l == &m->maps ? COLL_MAPS : COLL_CHUNKS);
	if (r == 0)
		l->items.n = l->heap.n = 0;
	return r;
}

int mover_add(struct mover *m, const struct record *rec, const uint8_t *body)
{
	struct load *l = rec->coll == COLL_CHUNKS && rec->kind == RECORD_PUT
				 ? &m->chunks
			 : rec->coll == COLL_MAPS && rec->kind == RECORD_PUT
				 ? &m->maps
				 : &m->changes;
	bool change = l == &m->changes;
	struct item i = { .rec = *rec };
	int r = 0;

	if (l->heap.n >= (change ? CHANGE_BYTES : BULK_BYTES) ||
		l->items.n >= (change ? CHANGE_DOCS : BULK_DOCS))
		r = move(m, l);
	if (r < 0)
		return r;
	i.body = l->heap.n;
	if (vec_reserve(&l->heap, rec->body_len + 1) < 0 ||
		vec_add(&l->items, i) < 0)
		return fail(ENOMEM, "%s: %m", m->e->dir->path);
	if (rec->body_len)
		memcpy(l->heap.v + i.body, body, rec->body_len);
	l->heap.n += rec->body_len;
	return 0;
}

int mover_flush(struct mover *m)
{
	int r = move(m, &m->chunks);

	if (r == 0)
		r = move(m, &m->maps);
	return r < 0 ? r : move(m, &m->changes);
}

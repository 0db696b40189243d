/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/store_write.h"

#include <errno.h>

#include "src/bytes.h"
#include "src/log.h"

/* of one transaction and one fdatasync */
#define BATCH_DOCS 65536
#define BATCH_BYTES (64u << 20)

/* Documents of one collection on their way in. */
struct bulk {
	struct embedded *e;
	enum coll coll;
	const struct doc *docs;
	size_t n;
	uint32_t *order; /* of the docs by key, the first of equals only */
	size_t n_order;
	bool *inserted; /* while appending: to be inserted */
	struct entry *at;
	struct slot *slot;
};

static int by_key(const void *pa, const void *pb, void *docs)
{
	uint32_t ia = *(const uint32_t *)pa, ib = *(const uint32_t *)pb;
	const struct key *a = &((const struct doc *)docs)[ia].key;
	const struct key *b = &((const struct doc *)docs)[ib].key;
	int d = memcmp(a->b, b->b, MIN_OF(a->len, b->len));

	if (d != 0)
		return d;
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return ia < ib ? -1 : 1;
}

static void bulk_sort(struct bulk *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		b->order[i] = (uint32_t)i;
	qsort_r(b->order, b->n, sizeof(*b->order), by_key,
		(void *)(uintptr_t)b->docs);
	for (size_t i = 0; i < b->n; i++)
		if (n == 0 || !key_eq(&b->docs[b->order[i]].key,
				      &b->docs[b->order[n - 1]].key))
			b->order[n++] = b->order[i];
	b->n_order = n;
}

/* What exists already is not even written. Returns how many are new. */
static int64_t bulk_look(struct bulk *b)
{
	struct index_txn t;
	int64_t n = 0;
	int r = index_read(b->e->index, &t);

	if (r < 0)
		return r;
	memset(b->inserted, 0, b->n * sizeof(*b->inserted));
	for (size_t i = 0; i < b->n_order; i++) {
		struct entry at;

		r = index_get(&t, b->coll, &b->docs[b->order[i]].key, &at);
		if (r < 0 && r != -ENOENT)
			break;
		b->inserted[b->order[i]] = r == -ENOENT;
		n += r == -ENOENT;
	}
	index_read_end(&t);
	return r < 0 && r != -ENOENT ? r : n;
}

static int bulk_append(struct bulk *b)
{
	struct segment_append *a = &b->slot->append;

	for (size_t i = 0; i < b->n; i++) {
		const struct doc *d = &b->docs[i];
		struct record rec = { .kind = RECORD_PUT,
			.coll = d->coll,
			.key = d->key,
			.version = d->version,
			.generation = d->generation,
			.body_len = d->len };
		int r;

		if (!b->inserted[i])
			continue;
		r = segment_append(a, &rec, d->body);
		if (r < 0)
			return r;
		b->at[i] = (struct entry){ .segment = b->slot->id,
			.len = d->len,
			.off = rec.off,
			.version = d->version,
			.generation = d->generation };
	}
	return segment_append_flush(a);
}

/* Only now, with the segment on disk, does anything point to it. */
static int bulk_publish(struct index_txn *t, void *arg)
{
	struct bulk *b = arg;
	struct segment_row row;
	int r = index_row(t, b->slot->id, &row);

	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	row.committed = b->slot->append.end;
	row.colls |= (uint16_t)(1u << b->coll);
	row.sealed |= row.committed >= SEGMENT_LIMIT;
	r = index_set_row(t, &row);
	for (size_t i = 0; r == 0 && i < b->n_order; i++) {
		uint32_t k = b->order[i];

		if (b->at[k].segment == 0)
			continue;
		r = index_insert(t, b->coll, &b->docs[k].key, &b->at[k]);
		b->inserted[k] = r == 0;
		if (r == -EEXIST)
			r = 0;
	}
	return r;
}

static int bulk_write(struct bulk *b, bool *ret_io_error)
{
	int r;

	*ret_io_error = false;
	memset(b->at, 0, b->n * sizeof(*b->at));
	r = slots_take(b->e->slots, b->coll, &b->slot);
	if (r < 0)
		return r;
	r = bulk_append(b);
	if (r == -ENOSPC || r == -ENOMEM) {
		slots_give(b->e->slots, b->slot, SLOT_TORN);
		return r;
	}
	if (r < 0) {
		*ret_io_error = true;
		fail(-r, "%s/segments/%08x.seg: write: %m", b->e->dir->path,
			b->slot->id);
		slots_give(b->e->slots, b->slot, SLOT_BROKEN);
		return r;
	}
	r = index_update(b->e->index, bulk_publish, b);
	if (r == 0)
		b->slot->committed = b->slot->append.end;
	slots_give(b->e->slots, b->slot, r == 0 ? SLOT_GOOD : SLOT_UNPUBLISHED);
	return r;
}

static int bulk_insert(struct bulk *b)
{
	bool io_error;
	int64_t n;
	int r;

	bulk_sort(b);
	n = bulk_look(b);
	if (n <= 0)
		return (int)n;
	r = bulk_write(b, &io_error);
	/* After a failed fdatasync the kernel may call lost pages clean: the
	 * bytes are written again elsewhere, never synced again. */
	if (io_error)
		r = bulk_write(b, &io_error);
	return r;
}

int embedded_insert_many(
	struct store *s, const struct doc *docs, size_t n, bool *ret_inserted)
{
	struct handle *h = handle_of(s);
	size_t max = MIN_OF(n, (size_t)BATCH_DOCS);
	scoped(freep) uint32_t *order = calloc(max + 1, sizeof(*order));
	scoped(freep) struct entry *at = calloc(max + 1, sizeof(*at));
	size_t done = 0;
	int r = embedded_writable(h);

	if (r < 0)
		return r;
	if (!order || !at)
		return fail(ENOMEM, "%s: %m", h->e->dir->path);
	while (done < n) {
		struct bulk b = { .e = h->e,
			.coll = docs[done].coll,
			.docs = docs + done,
			.order = order,
			.inserted = ret_inserted + done,
			.at = at };
		uint64_t bytes = 0;

		while (done + b.n < n && b.n < max && bytes < BATCH_BYTES &&
			b.docs[b.n].coll == b.coll)
			bytes += b.docs[b.n++].len;
		do
			r = bulk_insert(&b);
		while (embedded_again(h, r));
		if (r < 0)
			return r;
		done += b.n;
	}
	return 0;
}

/* One change of one document. */
struct change {
	struct embedded *e;
	enum record_kind kind;
	enum coll coll;
	const struct key *key;
	const struct doc *doc; /* NULL: remove */
	bool insert;           /* else OLD_VERSION must be there */
	uint64_t old_version;
	bool full;     /* the journal: begin another */
	bool io_error; /* likewise */
};

static int change_allowed(
	struct index_txn *t, const struct change *ch, struct entry *ret_old)
{
	int r = index_get(t, ch->coll, ch->key, ret_old);

	if (ch->insert)
		return r == 0 ? -EEXIST : r == -ENOENT ? 0 : r;
	if (r == 0 && ret_old->version != ch->old_version)
		return -ESTALE;
	return r;
}

static int change_index(struct index_txn *t, const struct change *ch,
	const struct entry *old, struct entry *e)
{
	if (!ch->doc)
		return index_remove(t, ch->coll, ch->key, old);
	e->len = ch->doc->len;
	e->version = ch->doc->version;
	e->generation = ch->doc->generation;
	if (ch->insert)
		return index_insert(t, ch->coll, ch->key, e);
	return index_replace(t, ch->coll, ch->key, old, e);
}

/*
 * The journal's segment, open and ending at its committed length. What an
 * unfinished change of another process left there is cut off before anything is
 * appended: rebuilding the index must not find it and prefer it.
 */
static int journal_open(
	struct embedded *e, const struct segment_row *row, uint64_t *ret_end)
{
	int r;

	if (e->journal_id != row->id) {
		closep(&e->journal_fd);
		e->journal_fd = -1;
		e->journal_id = 0;
		r = segment_open_append(
			e->dir, row->id, row->committed == 0, &e->journal_fd);
		if (r < 0)
			return r;
		e->journal_id = row->id;
	}
	*ret_end = row->committed ? row->committed : SEGMENT_HEADER;
	return segment_trim(e->dir, row, e->journal_fd);
}

/* Of chunks and maps a record put anew replaces none: the old one is removed.
 */
static int journal_append(const struct change *ch, struct segment_append *a,
	uint64_t *order, struct entry *ret)
{
	bool two = ch->doc && !ch->insert &&
		   (ch->coll == COLL_CHUNKS || ch->coll == COLL_MAPS);
	struct record rec = { .coll = ch->coll, .key = *ch->key };
	int r = 0;

	if (!ch->doc || two) {
		rec.kind = RECORD_REMOVE;
		rec.version = ch->old_version;
		rec.order = (*order)++;
		r = segment_append(a, &rec, "");
	}
	if (r == 0 && ch->doc) {
		rec.kind = RECORD_PUT;
		rec.version = ch->doc->version;
		rec.generation = ch->doc->generation;
		rec.body_len = ch->doc->len;
		rec.order = (*order)++;
		r = segment_append(a, &rec, ch->doc->body);
		ret->off = rec.off;
	}
	return r < 0 ? r : segment_append_flush(a);
}

static bool is_io_error(int r)
{
	return r < 0 && r != -ENOSPC && r != -ENOMEM && r != -ENOENT;
}

/* Appends the change to the journal ROW describes. */
static int journal_write(struct change *ch, struct segment_row *row,
	struct index_state *state, struct entry *ret)
{
	struct embedded *e = ch->e;
	struct segment_append a;
	uint64_t end;
	int r = journal_open(e, row, &end);

	ch->full = r == -ENOENT;
	ch->io_error = is_io_error(r);
	if (r < 0)
		return r;
	if (segment_append_init(&a, e->journal_fd,
		    segment_seed(&e->dir->seal, row->id), end) < 0)
		return fail(ENOMEM, "%s: %m", e->dir->path);
	r = journal_append(ch, &a, &state->order, ret);
	ch->io_error = is_io_error(r);
	if (ch->io_error)
		fail(-r, "%s/segments/%08x.seg: write: %m", e->dir->path,
			row->id);
	/* give the space back; the next to append would do it, too */
	if (r < 0 && ftruncate(e->journal_fd, (off_t)end) != 0)
		log_debug("store", "segment %08x: %m", row->id);
	ret->segment = row->id;
	row->committed = a.end;
	segment_append_fini(&a);
	return r;
}

static int change_journal(
	struct index_txn *t, struct change *ch, struct entry *ret)
{
	struct index_state state;
	struct segment_row row;
	int r = index_state(t, &state);

	if (r < 0)
		return r;
	r = state.journal ? index_row(t, state.journal, &row) : -ENOENT;
	if (r == -ENOENT || (r == 0 && row.sealed)) {
		ch->full = true;
		return -ENOENT;
	}
	if (r == 0)
		r = journal_write(ch, &row, &state, ret);
	if (r < 0)
		return r;
	row.colls |= (uint16_t)(1u << ch->coll);
	row.sealed = row.committed >= SEGMENT_LIMIT;
	r = index_set_row(t, &row);
	return r < 0 ? r : index_set_state(t, &state);
}

static int change_apply(struct index_txn *t, void *arg)
{
	struct change *ch = arg;
	struct entry old, e = { 0 };
	int r = change_allowed(t, ch, &old);

	if (r < 0)
		return r;
	if (!coll_is_inline(ch->coll))
		r = change_journal(t, ch, &e);
	else if (ch->doc)
		e.body = ch->doc->body;
	return r < 0 ? r : change_index(t, ch, &old, &e);
}

/*
 * The next segment for changes. After an error in the old one, what was written
 * there may or may not be on disk; orders go on above it, so that whatever is
 * acknowledged from now on is the later one.
 */
static int journal_next(struct index_txn *t, void *arg)
{
	struct change *ch = arg;
	struct segment_row row;
	struct index_state state;
	int r = index_state(t, &state);

	if (r == 0 && state.journal) {
		r = index_row(t, state.journal, &row);
		if (r == 0) {
			row.sealed = true;
			r = index_set_row(t, &row);
		}
		if (r == -ENOENT)
			r = 0;
	}
	if (r == 0 && ch->io_error) {
		state.order += 2;
		r = index_set_state(t, &state);
	}
	return r < 0 ? r : segment_allocate(t, true, &row);
}

static int change_make(struct change *ch)
{
	for (unsigned attempt = 0;; attempt++) {
		int r;

		ch->full = ch->io_error = false;
		r = index_update(ch->e->index, change_apply, ch);
		if (!(ch->full || ch->io_error) || attempt == 2)
			return r == -ENOENT && ch->full ? -EIO : r;
		r = index_update(ch->e->index, journal_next, ch);
		if (r < 0)
			return r;
	}
}

static int change(struct store *s, struct change *ch)
{
	struct handle *h = handle_of(s);
	int r = embedded_writable(h);

	if (r < 0)
		return r;
	ch->e = h->e;
	do
		r = change_make(ch);
	while (embedded_again(h, r));
	return r;
}

int embedded_insert(struct store *s, const struct doc *doc)
{
	struct change ch = {
		.coll = doc->coll, .key = &doc->key, .doc = doc, .insert = true
	};
	bool inserted;
	int r;

	if (doc->coll != COLL_CHUNKS && doc->coll != COLL_MAPS)
		return change(s, &ch);
	r = embedded_insert_many(s, doc, 1, &inserted);
	return r < 0 ? r : inserted ? 0 : -EEXIST;
}

int embedded_replace(
	struct store *s, const struct doc *doc, uint64_t old_version)
{
	struct change ch = { .coll = doc->coll,
		.key = &doc->key,
		.doc = doc,
		.old_version = old_version };

	return change(s, &ch);
}

int embedded_remove(
	struct store *s, enum coll c, const struct key *key, uint64_t version)
{
	struct change ch = { .coll = c, .key = key, .old_version = version };

	return change(s, &ch);
}

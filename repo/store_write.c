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
	row.sealed |= row.committed >= segment_limit(b->e->dir);
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
	int r = embedded_changeable(h);

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

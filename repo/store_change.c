/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/store_change.h"

#include <errno.h>

#include "repo/journal.h"
#include "repo/store_write.h"
#include "src/bytes.h"
#include "src/log.h"

/* of one transaction, during which no other process can change anything */
#define BATCH_CHANGES 2048
#define BATCH_BYTES (16u << 20)

/* Changes under way, all of them in one transaction. */
struct batch {
	struct embedded *e;
	struct store_change *v;
	size_t n;
	struct journal journal;
};

static enum coll coll_of(const struct store_change *ch)
{
	return ch->doc ? ch->doc->coll : ch->coll;
}

static const struct key *key_in(const struct store_change *ch)
{
	return ch->doc ? &ch->doc->key : &ch->key;
}

/* 0, or quietly why it is not to be. */
static int change_allowed(struct index_txn *t, const struct store_change *ch,
	struct entry *ret_old)
{
	int r = index_get(t, coll_of(ch), key_in(ch), ret_old);

	if (ch->insert)
		return r == 0 ? -EEXIST : r == -ENOENT ? 0 : r;
	if (r == 0 && ret_old->version != ch->old_version)
		return -ESTALE;
	return r;
}

static bool is_refusal(int r)
{
	return r == -EEXIST || r == -ENOENT || r == -ESTALE;
}

static int change_index(struct index_txn *t, const struct store_change *ch,
	const struct entry *old, struct entry *e)
{
	if (!ch->doc)
		return index_remove(t, coll_of(ch), key_in(ch), old);
	e->len = ch->doc->len;
	e->version = ch->doc->version;
	e->generation = ch->doc->generation;
	if (ch->insert)
		return index_insert(t, ch->doc->coll, &ch->doc->key, e);
	return index_replace(t, ch->doc->coll, &ch->doc->key, old, e);
}

/* Of chunks and maps a record put anew replaces none: the old one is removed.
 */
static int change_record(struct batch *b, struct index_txn *t,
	const struct store_change *ch, struct entry *ret)
{
	enum coll c = coll_of(ch);
	bool two =
		ch->doc && !ch->insert && (c == COLL_CHUNKS || c == COLL_MAPS);
	struct record rec = { .coll = c, .key = *key_in(ch) };
	int r = journal_begin(&b->journal, t);

	if (r == 0 && (!ch->doc || two)) {
		rec.kind = RECORD_REMOVE;
		rec.version = ch->old_version;
		r = journal_append(&b->journal, &rec, "", true);
	}
	if (r == 0 && ch->doc) {
		rec.kind = RECORD_PUT;
		rec.version = ch->doc->version;
		rec.generation = ch->doc->generation;
		rec.body_len = ch->doc->len;
		r = journal_append(&b->journal, &rec, ch->doc->body, true);
		ret->segment = b->journal.row.id;
		ret->off = rec.off;
	}
	return r;
}

static int change_apply(
	struct batch *b, struct index_txn *t, struct store_change *ch)
{
	struct entry old, e = { 0 };
	int r = change_allowed(t, ch, &old);

	if (r == 0 && !coll_is_inline(coll_of(ch)))
		r = change_record(b, t, ch, &e);
	else if (r == 0 && ch->doc)
		e.body = ch->doc->body;
	return r < 0 ? r : change_index(t, ch, &old, &e);
}

static int batch_apply(struct index_txn *t, void *arg)
{
	struct batch *b = arg;
	bool any = false;
	int r = 0;

	journal_init(&b->journal, b->e);
	for (size_t i = 0; r == 0 && i < b->n; i++) {
		struct store_change *ch = &b->v[i];

		r = change_apply(b, t, ch);
		ch->err = r;
		any |= r == 0;
		if (is_refusal(r) && !journal_failed(&b->journal))
			r = 0;
	}
	if (r == 0)
		r = journal_end(&b->journal, t);
	journal_fini(&b->journal);
	/* nothing to commit */
	return r == 0 && !any ? -ECANCELED : r;
}

static int batch_make(struct batch *b)
{
	for (unsigned attempt = 0;; attempt++) {
		int r = index_update(b->e->index, batch_apply, b);

		if (r == -ECANCELED)
			return 0;
		if (!journal_failed(&b->journal) || attempt == 2)
			return r == -ENOENT ? -EIO : r;
		r = journal_next(b->e, b->journal.io_error);
		if (r < 0)
			return r;
	}
}

int embedded_change_many(
	struct store *s, struct store_change *changes, size_t n)
{
	struct handle *h = handle_of(s);
	size_t done = 0;
	int r = embedded_changeable(h);

	while (r == 0 && done < n) {
		struct batch b = { .e = h->e, .v = changes + done };
		uint64_t bytes = 0;

		while (done + b.n < n && b.n < BATCH_CHANGES &&
			bytes < BATCH_BYTES) {
			const struct doc *d = b.v[b.n++].doc;

			bytes += d ? d->len : 0;
		}
		do
			r = batch_make(&b);
		while (embedded_again(h, r));
		done += b.n;
	}
	return r;
}

static int change_one(struct store *s, struct store_change ch)
{
	int r = embedded_change_many(s, &ch, 1);

	return r < 0 ? r : ch.err;
}

int embedded_insert(struct store *s, const struct doc *doc)
{
	bool inserted;
	int r;

	if (doc->coll != COLL_CHUNKS && doc->coll != COLL_MAPS)
		return change_one(
			s, (struct store_change){ .doc = doc, .insert = true });
	r = embedded_insert_many(s, doc, 1, &inserted);
	return r < 0 ? r : inserted ? 0 : -EEXIST;
}

int embedded_replace(
	struct store *s, const struct doc *doc, uint64_t old_version)
{
	return change_one(s, (struct store_change){
				     .doc = doc, .old_version = old_version });
}

int embedded_remove(
	struct store *s, enum coll c, const struct key *key, uint64_t version)
{
	return change_one(
		s, (struct store_change){
			   .coll = c, .key = *key, .old_version = version });
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/store_read.h"

#include <errno.h>

#include "src/bytes.h"
#include "src/log.h"
#include "src/log_many.h"

#define BATCH 1024u
#define SCAN_FIRST 16u        /* a scan may end at its first document */
#define SCAN_BYTES (4u << 20) /* of bodies read ahead of the visits */

static bool same_place(const struct entry *a, const struct entry *b)
{
	return a->segment == b->segment && a->off == b->off &&
	       a->len == b->len && a->version == b->version;
}

int embedded_find(struct embedded *e, enum coll c, const struct key *key,
	struct entry *ret)
{
	struct index_txn t;
	int r = index_read(e->index, &t);

	if (r < 0)
		return r;
	r = index_get(&t, c, key, ret);
	index_read_end(&t);
	ret->body = NULL; /* it was the transaction's */
	return r;
}

static struct log_many damaged = { .what = "damaged documents" };

/* After a read that did not find its record. */
static void fetch_again(struct embedded *e, enum coll c, struct lookup *f)
{
	while (f->err == -ENOENT || f->err == -EBADMSG) {
		struct entry was = f->at;
		char name[DOC_NAME];

		f->err = embedded_find(e, c, f->key, &f->at);
		if (f->err < 0)
			return;
		if (same_place(&was, &f->at)) {
			f->err = fail_many(&damaged, EBADMSG,
				"%s: is damaged (segment %08x, offset %llu)",
				doc_name(c, f->key, name), was.segment,
				(unsigned long long)was.off);
			return;
		}
		segset_read(e->segs, c, &f, 1);
	}
}

void embedded_fetch(struct embedded *e, enum coll c, struct lookup *f)
{
	segset_read(e->segs, c, &f, 1);
	fetch_again(e, c, f);
}

/* Sorts WANTED, which points to the lookups to be made. */
static void fetch_all(
	struct embedded *e, enum coll c, struct lookup **wanted, size_t n)
{
	segset_read(e->segs, c, wanted, n);
	for (size_t i = 0; i < n; i++)
		fetch_again(e, c, wanted[i]);
}

/* A document whose body is in the index. */
static int copy_body(struct doc *d, const void *body)
{
	d->owned = malloc(d->len + 1);
	if (!d->owned)
		return fail(ENOMEM, "%s: %m", coll_name(d->coll));
	d->body = memcpy(d->owned, body, d->len);
	return 0;
}

/* Absent ones are -ENOENT. */
static int get_batch(struct embedded *e, enum coll c, struct lookup *lookups,
	struct lookup **wanted, size_t n)
{
	struct index_txn t;
	size_t n_wanted = 0;
	int r = index_read(e->index, &t);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		struct lookup *f = &lookups[i];

		f->err = index_get(&t, c, f->key, &f->at);
		if (f->err == 0 && f->at.segment != 0)
			wanted[n_wanted++] = f;
		if (f->err == 0 && f->at.segment == 0) {
			*f->ret = entry_doc(c, f->key, &f->at);
			f->err = copy_body(f->ret, f->at.body);
		}
	}
	index_read_end(&t);
	fetch_all(e, c, wanted, n_wanted);
	return 0;
}

int embedded_get_many(struct store *s, enum coll c, const struct key *keys,
	size_t n, struct doc *ret, int *ret_err)
{
	struct embedded *e = handle_of(s)->e;
	size_t max = MIN_OF(n, BATCH);
	scoped(freep) struct lookup *lookups =
		calloc(max + 1, sizeof(*lookups));
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): of pointers, indeed */
	scoped(freep) struct lookup **wanted = calloc(max + 1, sizeof(*wanted));
	size_t done = 0;
	int r = 0;

	if (!lookups || !wanted)
		return fail(ENOMEM, "%s: %m", coll_name(c));
	for (size_t i = 0; i < n; i++)
		ret[i] = (struct doc){ .coll = c, .key = keys[i] };
	while (done < n && r == 0) {
		size_t now = MIN_OF(n - done, BATCH);

		for (size_t i = 0; i < now; i++)
			lookups[i] = (struct lookup){ .key = &keys[done + i],
				.ret = &ret[done + i] };
		r = get_batch(e, c, lookups, wanted, now);
		for (size_t i = 0; i < now && r == 0; i++) {
			int err = lookups[i].err;

			if (err == -ENOENT)
				err = 0;
			if (ret_err)
				ret_err[done + i] = err;
			else
				r = err;
		}
		done += now;
	}
	for (size_t i = 0; r < 0 && i < n; i++)
		doc_fini(&ret[i]);
	return r;
}

typedef void (*look_take)(void *arg, size_t i, const struct entry *at);

/* What of KEYS the index has goes to TAKE, by a transaction for each BATCH. */
static int look_many(struct store *s, enum coll c, const struct key *keys,
	size_t n, look_take fn, void *arg)
{
	struct embedded *e = handle_of(s)->e;
	size_t done = 0;

	while (done < n) {
		size_t end = MIN_OF(done + BATCH, n);
		struct index_txn t;
		int r = index_read(e->index, &t);

		if (r < 0)
			return r;
		for (; done < end && r == 0; done++) {
			struct entry at;

			r = index_get(&t, c, &keys[done], &at);
			if (r == 0)
				fn(arg, done, &at);
			if (r == -ENOENT)
				r = 0;
		}
		index_read_end(&t);
		if (r < 0)
			return r;
	}
	return 0;
}

static void note_existence(void *arg, size_t i, const struct entry *at)
{
	(void)at;
	((bool *)arg)[i] = true;
}

int embedded_exists_many(struct store *s, enum coll c, const struct key *keys,
	size_t n, bool *ret)
{
	memset(ret, 0, n * sizeof(*ret));
	return look_many(s, c, keys, n, note_existence, ret);
}

struct heads {
	enum coll coll;
	const struct key *keys;
	struct doc *ret;
};

static void take_head(void *arg, size_t i, const struct entry *at)
{
	struct heads *h = arg;

	h->ret[i] = entry_doc(h->coll, &h->keys[i], at);
}

int embedded_head_many(struct store *s, enum coll c, const struct key *keys,
	size_t n, struct doc *ret)
{
	struct heads h = { .coll = c, .keys = keys, .ret = ret };

	return look_many(s, c, keys, n, take_head, &h);
}

struct scan {
	struct embedded *e;
	enum coll coll;
	unsigned flags;
	store_visit visit;
	void *arg;
	int damage; /* to be returned when all else was visited */
	struct index_item items[BATCH];
	struct doc docs[BATCH];
	struct lookup lookups[BATCH];
	struct lookup *wanted[BATCH];
};

/* Reads the bodies of items from I on, as many as is good; returns how many. */
static size_t scan_fetch(struct scan *s, size_t i, size_t n)
{
	uint64_t bytes = 0;
	size_t k;

	for (k = 0; i + k < n && (k == 0 || bytes < SCAN_BYTES); k++) {
		s->lookups[k] = (struct lookup){ .key = &s->items[i + k].key,
			.at = s->items[i + k].at,
			.ret = &s->docs[i + k] };
		s->wanted[k] = &s->lookups[k];
		bytes += s->items[i + k].at.len;
	}
	fetch_all(s->e, s->coll, s->wanted, k);
	return k;
}

/* Visits item I, whose body, if it lay in a segment, fetch F has read. */
static int scan_visit(struct scan *s, size_t i, const struct lookup *f)
{
	struct doc d = entry_doc(s->coll, &s->items[i].key, &s->items[i].at);

	d.body = s->items[i].at.body;
	if (f && f->err == -ENOENT)
		return 0;
	if (f && f->err == -EBADMSG) {
		s->damage = f->err;
		return 0;
	}
	if (f && f->err < 0)
		return f->err;
	if (f)
		d = *f->ret;
	if (s->flags & SCAN_KEYS)
		d.body = NULL;
	d.owned = NULL;
	return s->visit(s->arg, &d);
}

static int scan_batch(struct scan *s, size_t n)
{
	bool bodies = !(s->flags & SCAN_KEYS) && !coll_is_inline(s->coll);
	size_t i = 0;
	int r = 0;

	while (i < n && r == 0) {
		size_t k = bodies ? scan_fetch(s, i, n) : n - i;

		for (size_t j = 0; j < k && r == 0; j++)
			r = scan_visit(
				s, i + j, bodies ? &s->lookups[j] : NULL);
		for (size_t j = 0; bodies && j < k; j++)
			if (s->lookups[j].err == 0)
				doc_fini(&s->docs[i + j]);
		i += k;
	}
	return r;
}

int embedded_scan(struct store *store, enum coll c, const struct key *prefix,
	unsigned flags, store_visit visit, void *arg)
{
	struct index_scan at = {
		.coll = c, .prefix = prefix, .reverse = flags & SCAN_REVERSE
	};
	scoped(freep) struct scan *s = malloc(sizeof(*s));
	size_t max = SCAN_FIRST;
	int r = 0;

	if (!s)
		return fail(ENOMEM, "%s: %m", coll_name(c));
	s->e = handle_of(store)->e;
	s->coll = c;
	s->flags = flags;
	s->visit = visit;
	s->arg = arg;
	s->damage = 0;
	while (!at.done && r == 0) {
		struct index_txn t;
		size_t n;

		r = index_read(s->e->index, &t);
		if (r < 0)
			return r;
		r = index_scan(&t, &at, s->items, max, &n);
		index_read_end(&t);
		if (r < 0)
			return r;
		r = scan_batch(s, n);
		index_items_fini(s->items, n);
		max = MIN_OF(max * 4, BATCH);
	}
	return r ? r : s->damage;
}

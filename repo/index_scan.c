/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "repo/index.h"
#include "repo/index_db.h"
#include "src/log.h"

static bool has_prefix(const MDB_val *k, const struct key *prefix)
{
	return !prefix ||
	       (k->mv_size >= prefix->len &&
		       memcmp(k->mv_data, prefix->b, prefix->len) == 0);
}

/* The first key of all that begin with PREFIX is >= it; the last one lies
 * before the next prefix of that length. False: there is no next. */
static bool next_prefix(struct key *k)
{
	while (k->len > 0 && ++k->b[k->len - 1] == 0)
		k->len--;
	return k->len > 0;
}

static int seek(
	MDB_cursor *cursor, const struct index_scan *s, MDB_val *k, MDB_val *v)
{
	struct key at = s->begun    ? s->last
			: s->prefix ? *s->prefix
				    : (struct key){ 0 };
	bool first = at.len == 0;
	int rc;

	if (s->reverse && !s->begun && !first)
		first = !next_prefix(&at);
	if (first)
		return mdb_cursor_get(
			cursor, k, v, s->reverse ? MDB_LAST : MDB_FIRST);
	*k = (MDB_val){ at.len, at.b };
	rc = mdb_cursor_get(cursor, k, v, MDB_SET_RANGE);
	if (s->reverse)
		return mdb_cursor_get(
			cursor, k, v, rc == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
	if (rc == 0 && s->begun && k->mv_size == at.len &&
		memcmp(k->mv_data, at.b, at.len) == 0)
		return mdb_cursor_get(cursor, k, v, MDB_NEXT);
	return rc;
}

static int scan_item(struct index_txn *t, struct index_scan *s, MDB_val *k,
	MDB_val *v, struct index_item *ret, bool *ret_wanted)
{
	int r = index_entry(t, s->coll, k, v, &ret->at);

	if (r < 0)
		return r;
	s->begun = true;
	s->last = ret->key = key_of(k->mv_data, k->mv_size);
	*ret_wanted = !s->want || s->want(s->want_arg, &ret->at);
	if (*ret_wanted && ret->at.body) {
		void *copy = malloc(ret->at.len + 1);

		if (!copy)
			return fail(ENOMEM, "scan: %m");
		memcpy(copy, ret->at.body, ret->at.len);
		ret->at.body = copy;
	}
	return 0;
}

/* entries passed over before the transaction ends: it pins freed pages */
#define SCAN_UNWANTED 65536

int index_scan(struct index_txn *t, struct index_scan *s,
	struct index_item *items, size_t max, size_t *ret_n)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	size_t n = 0;
	int r = 0;
	int rc;

	*ret_n = 0;
	rc = mdb_cursor_open(t->txn, t->ix->dbi[s->coll], &cursor);
	if (rc != 0)
		return index_error(t->ix, rc, coll_name(s->coll));
	rc = seek(cursor, s, &k, &v);
	for (unsigned i = 0; i < SCAN_UNWANTED && n < max; i++) {
		bool wanted;

		if (rc == MDB_NOTFOUND ||
			(rc == 0 && !has_prefix(&k, s->prefix)))
			s->done = true;
		else if (rc != 0)
			r = index_error(t->ix, rc, coll_name(s->coll));
		if (s->done || r < 0)
			break;
		r = scan_item(t, s, &k, &v, &items[n], &wanted);
		if (r < 0)
			break;
		n += wanted;
		rc = mdb_cursor_get(
			cursor, &k, &v, s->reverse ? MDB_PREV : MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	if (r < 0) {
		index_items_fini(items, n);
		return r;
	}
	*ret_n = n;
	return 0;
}

void index_items_fini(struct index_item *items, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free((void *)(uintptr_t)items[i].at.body);
}

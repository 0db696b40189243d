/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/index.h"

#include <assert.h>
#include <errno.h>
#include <xxhash.h>

#include "repo/index_db.h"
#include "repo/segment.h"
#include "repo/store_ops.h"
#include "src/bytes.h"
#include "src/log.h"

/* Every value begins with the checksum of its database, its key and itself. */
#define VALUE_SUM 8
#define ENTRY_LEN 36
#define INLINE_HEADER 28
#define STATE_LEN 48
#define ROW_LEN 28
#define COUNT_LEN 40
#define VALUE_MAX 48

/* of VALUE and, if it goes on there, of BODY */
static uint64_t value_sum(unsigned db, const MDB_val *key, const uint8_t *value,
	size_t len, const void *body, size_t body_len)
{
	uint8_t b[2 + KEY_MAX + VALUE_MAX + 8];
	uint8_t *p = b;

	assert(key->mv_size <= KEY_MAX && len <= VALUE_MAX);
	*p++ = (uint8_t)(db < N_COLLS ? db : 0x80 + db - N_COLLS);
	*p++ = (uint8_t)key->mv_size;
	p = mempcpy(p, key->mv_data, key->mv_size);
	p = mempcpy(p, value + VALUE_SUM, len - VALUE_SUM);
	if (body) {
		put_le64(p, XXH3_64bits(body, body_len));
		p += 8;
	}
	return XXH3_64bits(b, (size_t)(p - b));
}

static MDB_val key_val(const struct key *key)
{
	return (MDB_val){ key->len, (void *)(uintptr_t)key->b };
}

/* P: the value without its checksum, which is put into it here. */
static int put_fixed(struct index_txn *t, unsigned db, MDB_val key, uint8_t *p,
	size_t len, unsigned flags)
{
	MDB_val v = { len, p };
	int rc;
	int r = index_pages_check(t->ix, db, &key, false);

	if (r < 0)
		return r;
	put_le64(p, value_sum(db, &key, p, len, NULL, 0));
	rc = mdb_put(t->txn, t->ix->dbi[db], &key, &v, flags);
	if (rc == MDB_KEYEXIST)
		return -EEXIST;
	return index_error(t->ix, rc, "put");
}

static int get_fixed(struct index_txn *t, unsigned db, MDB_val key, size_t len,
	const uint8_t **ret)
{
	MDB_val v;
	int rc = mdb_get(t->txn, t->ix->dbi[db], &key, &v);

	if (rc == MDB_NOTFOUND)
		return -ENOENT;
	if (rc != 0)
		return index_error(t->ix, rc, "get");
	if (v.mv_size != len ||
		get_le64(v.mv_data) !=
			value_sum(db, &key, v.mv_data, len, NULL, 0))
		return index_damaged(t->ix, "a value fails its checksum");
	*ret = v.mv_data;
	return 0;
}

static int del(struct index_txn *t, unsigned db, MDB_val *key)
{
	int r = index_pages_check(t->ix, db, key, true);

	return r < 0 ? r
		     : index_error(t->ix,
			       mdb_del(t->txn, t->ix->dbi[db], key, NULL),
			       index_db_name(db));
}

/* Documents. */

static int entry_bad(struct index_txn *t, enum coll c, const MDB_val *key)
{
	size_t len = MIN_OF(key->mv_size, (size_t)KEY_MAX);
	struct key k = key_of(key->mv_data, len);
	char name[DOC_NAME];

	return index_damaged(t->ix, doc_name(c, &k, name));
}

int index_entry(struct index_txn *t, enum coll c, const MDB_val *key,
	const MDB_val *v, struct entry *ret)
{
	bool in_index = coll_is_inline(c);
	size_t len = in_index ? INLINE_HEADER : ENTRY_LEN;
	const uint8_t *p = v->mv_data;
	const void *body = in_index ? p + INLINE_HEADER : NULL;
	struct entry e = { .body = body };

	if (key->mv_size < 1 || key->mv_size > KEY_MAX || v->mv_size < len ||
		(!in_index && v->mv_size != len) ||
		get_le64(p) !=
			value_sum(c, key, p, len, body, v->mv_size - len))
		return entry_bad(t, c, key);
	e.version = get_le64(p + 8);
	e.generation = get_le64(p + 16);
	if (in_index) {
		e.len = get_le32(p + 24);
		if (e.len != v->mv_size - len || e.len > DOC_MAX)
			return entry_bad(t, c, key);
	} else {
		e.segment = get_le32(p + 24);
		e.off = (uint64_t)get_le32(p + 28) * 8;
		e.len = get_le32(p + 32);
		if (e.segment == 0 || e.off < SEGMENT_HEADER || e.len > DOC_MAX)
			return entry_bad(t, c, key);
	}
	*ret = e;
	return 0;
}

int index_get(struct index_txn *t, enum coll c, const struct key *key,
	struct entry *ret)
{
	MDB_val k = key_val(key), v;
	int rc = mdb_get(t->txn, t->ix->dbi[c], &k, &v);

	if (rc == MDB_NOTFOUND)
		return -ENOENT;
	if (rc != 0)
		return index_error(t->ix, rc, coll_name(c));
	return index_entry(t, c, &k, &v, ret);
}

static int entry_put(struct index_txn *t, enum coll c, const struct key *key,
	const struct entry *e, unsigned flags)
{
	uint8_t p[VALUE_MAX] = { 0 };
	MDB_val k = key_val(key);
	MDB_val v = { .mv_size = INLINE_HEADER + e->len };
	int rc, r;

	put_le64(p + 8, e->version);
	put_le64(p + 16, e->generation);
	if (!coll_is_inline(c)) {
		assert(e->off % 8 == 0 && e->off / 8 <= UINT32_MAX);
		put_le32(p + 24, e->segment);
		put_le32(p + 28, (uint32_t)(e->off / 8));
		put_le32(p + 32, e->len);
		return put_fixed(t, c, k, p, ENTRY_LEN, flags);
	}
	r = index_pages_check(t->ix, c, &k, false);
	if (r < 0)
		return r;
	put_le32(p + 24, e->len);
	put_le64(p, value_sum(c, &k, p, INLINE_HEADER, e->body, e->len));
	rc = mdb_put(t->txn, t->ix->dbi[c], &k, &v, flags | MDB_RESERVE);
	if (rc == MDB_KEYEXIST)
		return -EEXIST;
	if (rc == 0) {
		memcpy(v.mv_data, p, INLINE_HEADER);
		memcpy((uint8_t *)v.mv_data + INLINE_HEADER, e->body, e->len);
	}
	return index_error(t->ix, rc, coll_name(c));
}

struct doc entry_doc(enum coll c, const struct key *key, const struct entry *e)
{
	return (struct doc){ .coll = c,
		.key = *key,
		.version = e->version,
		.generation = e->generation,
		.len = e->len };
}

uint64_t entry_record_len(const struct key *key, const struct entry *e)
{
	return record_len(key->len, e->len);
}

/* Counts and live bytes: gathered in the transaction, see index_flush(). */
static int note(struct index_txn *t, enum coll c, const struct key *key,
	const struct entry *e, bool add)
{
	struct doc d = entry_doc(c, key, e);
	uint64_t len = entry_record_len(key, e);

	store_count_change(&t->count[c], &d, add);
	t->count_changed |= (uint16_t)(1u << c);
	if (coll_is_inline(c))
		return 0;
	if (t->live_segment != 0 && t->live_segment != e->segment) {
		int r = index_flush(t);

		if (r < 0)
			return r;
	}
	t->live_segment = e->segment;
	t->live_change += add ? len : -len;
	return 0;
}

int index_insert(struct index_txn *t, enum coll c, const struct key *key,
	const struct entry *e)
{
	int r = entry_put(t, c, key, e, MDB_NOOVERWRITE);

	return r < 0 ? r : note(t, c, key, e, true);
}

int index_replace(struct index_txn *t, enum coll c, const struct key *key,
	const struct entry *old, const struct entry *e)
{
	/* what OLD points to may lie in a page this changes */
	struct entry was = *old;
	int r = entry_put(t, c, key, e, 0);

	if (r == 0)
		r = note(t, c, key, &was, false);
	return r < 0 ? r : note(t, c, key, e, true);
}

int index_remove(struct index_txn *t, enum coll c, const struct key *key,
	const struct entry *old)
{
	struct entry was = *old;
	MDB_val k = key_val(key);
	int r = del(t, c, &k);

	return r < 0 ? r : note(t, c, key, &was, false);
}

static MDB_val coll_val(uint8_t *b, enum coll c)
{
	*b = (uint8_t)c;
	return (MDB_val){ 1, b };
}

int index_count(struct index_txn *t, enum coll c, struct store_count *ret)
{
	uint8_t k;
	const uint8_t *p;
	int r = get_fixed(t, DB_COUNTS, coll_val(&k, c), COUNT_LEN, &p);

	if (r == -ENOENT)
		return index_damaged(t->ix, "counts");
	if (r < 0)
		return r;
	ret->n = get_le64(p + 8);
	ret->bytes = get_le64(p + 16);
	ret->sum[0] = get_le64(p + 24);
	ret->sum[1] = get_le64(p + 32);
	return 0;
}

static int count_put(
	struct index_txn *t, enum coll c, const struct store_count *count)
{
	uint8_t p[VALUE_MAX] = { 0 };
	uint8_t k;

	put_le64(p + 8, count->n);
	put_le64(p + 16, count->bytes);
	put_le64(p + 24, count->sum[0]);
	put_le64(p + 32, count->sum[1]);
	return put_fixed(t, DB_COUNTS, coll_val(&k, c), p, COUNT_LEN, 0);
}

/* Segment table; key: the id, big endian, so that it is in order. */

static MDB_val row_val(uint8_t b[4], uint32_t id)
{
	put_be32(b, id);
	return (MDB_val){ 4, b };
}

static int row_get(struct index_txn *t, uint32_t id, struct segment_row *ret)
{
	uint8_t k[4];
	const uint8_t *p;
	int r = get_fixed(t, DB_SEGMENTS, row_val(k, id), ROW_LEN, &p);

	if (r < 0)
		return r;
	ret->id = id;
	ret->committed = get_le64(p + 8);
	ret->live = get_le64(p + 16);
	ret->colls = get_le16(p + 24);
	ret->sealed = get_le16(p + 26) & 1;
	ret->journal = get_le16(p + 26) & 2;
	return 0;
}

int index_set_row(struct index_txn *t, const struct segment_row *row)
{
	uint8_t p[VALUE_MAX] = { 0 };
	uint8_t k[4];

	put_le64(p + 8, row->committed);
	put_le64(p + 16, row->live);
	put_le16(p + 24, row->colls);
	put_le16(p + 26,
		(uint16_t)((row->sealed ? 1 : 0) | (row->journal ? 2 : 0)));
	return put_fixed(t, DB_SEGMENTS, row_val(k, row->id), p, ROW_LEN, 0);
}

int index_remove_row(struct index_txn *t, uint32_t id)
{
	uint8_t b[4];
	MDB_val k = row_val(b, id);

	return del(t, DB_SEGMENTS, &k);
}

static int live_flush(struct index_txn *t)
{
	struct segment_row row;
	uint32_t id = t->live_segment;
	int r;

	if (id == 0)
		return 0;
	r = row_get(t, id, &row);
	if (r == -ENOENT)
		return index_damaged(t->ix, "a segment is not in the table");
	if (r < 0)
		return r;
	row.live += t->live_change;
	t->live_segment = 0;
	t->live_change = 0;
	return index_set_row(t, &row);
}

int index_flush(struct index_txn *t)
{
	int r = live_flush(t);

	for (unsigned c = 0; r == 0 && c < N_COLLS; c++) {
		struct store_count *change = &t->count[c];
		struct store_count all;

		if (!(t->count_changed & 1u << c))
			continue;
		r = index_count(t, c, &all);
		if (r < 0)
			break;
		all.n += change->n;
		all.bytes += change->bytes;
		all.sum[0] += change->sum[0];
		all.sum[1] += change->sum[1] + (all.sum[0] < change->sum[0]);
		*change = (struct store_count){ 0 };
		r = count_put(t, c, &all);
	}
	t->count_changed = 0;
	return r;
}

int index_row(struct index_txn *t, uint32_t id, struct segment_row *ret)
{
	int r = live_flush(t);

	return r < 0 ? r : row_get(t, id, ret);
}

int index_rows(struct index_txn *t, struct segment_rows *ret)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	int rc;
	int r = 0;

	ret->n = 0;
	rc = mdb_cursor_open(t->txn, t->ix->dbi[DB_SEGMENTS], &cursor);
	if (rc != 0)
		return index_error(t->ix, rc, "segments");
	rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
	for (; rc == 0; rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
		struct segment_row row;

		r = k.mv_size == 4 ? row_get(t, get_be32(k.mv_data), &row)
				   : -ENOENT;
		if (r == -ENOENT)
			r = index_damaged(t->ix, "segments");
		if (r == 0 && vec_add(ret, row) < 0)
			r = fail(ENOMEM, "segments: %m");
		if (r < 0)
			break;
	}
	mdb_cursor_close(cursor);
	if (r < 0 || rc == MDB_NOTFOUND)
		return r;
	return index_error(t->ix, rc, "segments");
}

int index_list_rows(struct index *ix, struct segment_rows *ret)
{
	struct index_txn t;
	int r = index_read(ix, &t);

	if (r < 0)
		return r;
	r = index_rows(&t, ret);
	index_read_end(&t);
	return r;
}

/* State. */

static const MDB_val state_key = { 5, (void *)(uintptr_t) "state" };

static int state_get(struct index_txn *t, const uint8_t **ret)
{
	int r = get_fixed(t, DB_STATE, state_key, STATE_LEN, ret);

	return r == -ENOENT ? index_damaged(t->ix, "state") : r;
}

int index_state(struct index_txn *t, struct index_state *ret)
{
	const uint8_t *p;
	int r = state_get(t, &p);

	if (r < 0)
		return r;
	ret->next_segment = get_le32(p + 12);
	ret->journal = get_le32(p + 16);
	ret->order = get_le64(p + 24);
	return 0;
}

int index_set_state(struct index_txn *t, const struct index_state *state)
{
	uint8_t p[VALUE_MAX] = { 0 };

	put_le32(p + 8, INDEX_FORMAT);
	put_le32(p + 12, state->next_segment);
	put_le32(p + 16, state->journal);
	put_le64(p + 24, state->order);
	memcpy(p + 32, t->ix->uuid.b, 16);
	return put_fixed(t, DB_STATE, state_key, p, STATE_LEN, 0);
}

int index_init(struct index_txn *t)
{
	const struct index_state first = { .next_segment = 1, .order = 1 };
	const struct store_count none = { 0 };
	int r = index_set_state(t, &first);

	for (unsigned c = 0; r == 0 && c < N_COLLS; c++)
		r = count_put(t, c, &none);
	return r;
}

int index_check(struct index_txn *t)
{
	const uint8_t *p;
	int r = state_get(t, &p);

	if (r < 0)
		return r;
	if (get_le32(p + 8) != INDEX_FORMAT)
		return index_damaged(t->ix, "of another format");
	if (memcmp(p + 32, t->ix->uuid.b, 16) != 0)
		return index_damaged(t->ix, "of another repository");
	return 0;
}

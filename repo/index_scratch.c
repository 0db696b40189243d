/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and values as they are, without checksums: gone before anyone but the
 * rebuild has seen them.
 */
#include <errno.h>

#include "repo/index.h"
#include "repo/index_db.h"

int index_scratch_begin(struct index_txn *t, void *arg)
{
	(void)arg;
	return index_error(t->ix,
		mdb_dbi_open(
			t->txn, "scratch", MDB_CREATE, &t->ix->dbi[DB_SCRATCH]),
		"scratch");
}

int index_scratch_end(struct index_txn *t, void *arg)
{
	(void)arg;
	return index_error(
		t->ix, mdb_drop(t->txn, t->ix->dbi[DB_SCRATCH], 1), "scratch");
}

int index_scratch_get(struct index_txn *t, const void *key, size_t key_len,
	void *ret, size_t len)
{
	MDB_val k = { key_len, (void *)(uintptr_t)key }, v;
	int rc = mdb_get(t->txn, t->ix->dbi[DB_SCRATCH], &k, &v);

	if (rc == MDB_NOTFOUND)
		return -ENOENT;
	if (rc != 0)
		return index_error(t->ix, rc, "scratch");
	if (v.mv_size != len)
		return index_damaged(t->ix, "scratch");
	memcpy(ret, v.mv_data, len);
	return 0;
}

int index_scratch_put(struct index_txn *t, const void *key, size_t key_len,
	const void *value, size_t len)
{
	MDB_val k = { key_len, (void *)(uintptr_t)key };
	MDB_val v = { len, (void *)(uintptr_t)value };

	return index_error(t->ix,
		mdb_put(t->txn, t->ix->dbi[DB_SCRATCH], &k, &v, 0), "scratch");
}

int index_scratch_each(struct index_txn *t,
	int (*fn)(struct index_txn *t, const uint8_t *key, size_t key_len,
		const void *value, size_t len))
{
	MDB_cursor *cursor;
	MDB_val k, v;
	int r = 0;
	int rc = mdb_cursor_open(t->txn, t->ix->dbi[DB_SCRATCH], &cursor);

	if (rc != 0)
		return index_error(t->ix, rc, "scratch");
	rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
	while (rc == 0 && r == 0) {
		r = fn(t, k.mv_data, k.mv_size, v.mv_data, v.mv_size);
		rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	if (r < 0 || rc == MDB_NOTFOUND)
		return r;
	return index_error(t->ix, rc, "scratch");
}

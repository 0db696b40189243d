/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/index_agree.h"

#include <errno.h>
#include <string.h>

#include "repo/index_db.h"
#include "repo/store_ops.h"
#include "src/log.h"

#define ITEMS 128

/* Those in the journal: what is put where one vanished replaces it for good. */
static const enum coll colls[] = { COLL_META, COLL_MACHINES, COLL_POINTS,
	COLL_LABELS, COLL_CLONES, COLL_QUARANTINE, COLL_WRITERS };

static int coll_count(struct index_txn *t, enum coll c, struct store_count *ret)
{
	struct index_scan scan = { .coll = c };
	struct index_item items[ITEMS];

	*ret = (struct store_count){ 0 };
	while (!scan.done) {
		size_t n;
		int r = index_scan(t, &scan, items, ITEMS, &n);

		if (r < 0)
			return r;
		for (size_t i = 0; i < n; i++) {
			struct doc d =
				entry_doc(c, &items[i].key, &items[i].at);

			store_count_add(ret, &d);
		}
		index_items_fini(items, n);
	}
	return 0;
}

static int coll_agrees(struct index_txn *t, enum coll c)
{
	struct store_count is, said;
	int r = coll_count(t, c, &is);

	if (r == 0)
		r = index_count(t, c, &said);
	if (r == 0 && memcmp(&is, &said, sizeof(is)) != 0)
		r = index_damaged(t->ix, coll_name(c));
	return r;
}

static int agree(struct index_txn *t, void *arg)
{
	struct segment_rows rows = { 0 };
	int r = index_rows(t, &rows);

	(void)arg;
	vec_fini(&rows);
	for (unsigned i = 0; r == 0 && i < N_ELEMS(colls); i++)
		r = coll_agrees(t, colls[i]);
	return r < 0 ? r : -ECANCELED;
}

int index_agree(struct index *ix)
{
	int r;

	if (ix->agreed)
		return 0;
	/* where nobody commits meanwhile, and index_pages_begin() looks */
	r = index_update(ix, agree, NULL);
	ix->agreed |= r == -ECANCELED;
	return r == -ECANCELED ? 0 : r;
}

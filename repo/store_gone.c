/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/store_gone.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "src/digest.h"
#include "src/log.h"

#define BATCH 256

struct short_segment {
	uint32_t id;
	uint64_t len; /* of the file; 0: there is none */
};
struct short_segments vec(struct short_segment);

/* Nothing may lie in it any more: compaction takes the row away, then the file.
 */
static int still_there(struct embedded *e, uint32_t id)
{
	struct segment_row row;
	struct index_txn t;
	int r = index_read(e->index, &t);

	if (r < 0)
		return r;
	r = index_row(&t, id, &row);
	index_read_end(&t);
	return r == -ENOENT ? 0 : r < 0 ? r : row.live > 0;
}

static int look_at(struct embedded *e, const struct segment_row *row,
	struct short_segments *ret)
{
	struct short_segment found = { .id = row->id };
	char name[SEGMENT_NAME];
	struct stat st;
	int r;

	if (row->committed == 0 || row->live == 0)
		return 0;
	if (fstatat(e->dir->segments, segment_name(row->id, name), &st, 0) == 0)
		found.len = (uint64_t)st.st_size;
	else if (errno != ENOENT)
		return fail(errno, "%s/segments/%s: %m", e->dir->path, name);
	if (found.len >= row->committed)
		return 0;
	r = still_there(e, row->id);
	if (r <= 0)
		return r;
	log_warn("%s/segments/%s: %s", e->dir->path, name,
		found.len ? "has lost its end" : "is missing");
	return vec_add(ret, found) < 0 ? fail(ENOMEM, "%s: %m", e->dir->path)
				       : 0;
}

static bool is_gone(void *arg, const struct entry *at)
{
	static const struct key digest = { .len = sizeof(struct digest) };
	const struct short_segments *list = arg;

	for (size_t i = 0; i < list->n; i++)
		if (list->v[i].id == at->segment)
			return at->off + entry_record_len(&digest, at) >
			       list->v[i].len;
	return false;
}

static int visit_all(struct embedded *e, enum coll c,
	struct short_segments *list, store_visit visit, void *arg)
{
	struct index_scan at = { .coll = c, .want = is_gone, .want_arg = list };
	struct index_item items[BATCH];
	int r = 0;

	while (r == 0 && !at.done) {
		struct index_txn t;
		size_t n = 0;

		r = index_read(e->index, &t);
		if (r < 0)
			break;
		r = index_scan(&t, &at, items, BATCH, &n);
		index_read_end(&t);
		for (size_t i = 0; r == 0 && i < n; i++) {
			struct doc d =
				entry_doc(c, &items[i].key, &items[i].at);

			r = visit(arg, &d);
		}
		index_items_fini(items, n);
	}
	return r;
}

int embedded_gone(struct store *s, store_visit visit, void *arg)
{
	struct embedded *e = handle_of(s)->e;
	struct segment_rows rows = { 0 };
	struct short_segments list = { 0 };
	int r = index_list_rows(e->index, &rows);

	for (size_t i = 0; r == 0 && i < rows.n; i++)
		r = look_at(e, &rows.v[i], &list);
	if (r == 0 && list.n)
		r = visit_all(e, COLL_CHUNKS, &list, visit, arg);
	if (r == 0 && list.n)
		r = visit_all(e, COLL_MAPS, &list, visit, arg);
	vec_fini(&list);
	vec_fini(&rows);
	return r;
}

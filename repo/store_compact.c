/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/store_compact.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "repo/journal.h"
#include "repo/mover.h"
#include "repo/store_read.h"
#include "src/bytes.h"
#include "src/log.h"

/* A journal that is smaller stays, however little of it is alive. */
#define JOURNAL_MIN (1u << 20)

struct compaction {
	struct handle *h;
	struct embedded *e;
	_Atomic uint64_t *done;
	const _Atomic bool *cancel;
	struct segment_rows rows; /* those to be removed */
	struct store_compact result;
	bool unlinked;
};

static int read_row(struct embedded *e, uint32_t id, struct segment_row *ret)
{
	struct index_txn t;
	int r = index_read(e->index, &t);

	if (r < 0)
		return r;
	r = index_row(&t, id, ret);
	index_read_end(&t);
	return r;
}

static int read_state(struct embedded *e, struct index_state *ret)
{
	struct index_txn t;
	int r = index_read(e->index, &t);

	if (r < 0)
		return r;
	r = index_state(&t, ret);
	index_read_end(&t);
	return r;
}

static bool half_dead(const struct segment_row *row)
{
	return row->committed > SEGMENT_HEADER &&
	       row->live < (row->committed - SEGMENT_HEADER) / 2;
}

static int by_live(const void *pa, const void *pb)
{
	const struct segment_row *a = pa, *b = pb;

	if (a->live != b->live)
		return a->live < b->live ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

/* The journal is not compacted while it is written to; then it is the next. */
static int roll_journal(struct embedded *e)
{
	struct index_state state;
	struct segment_row row;
	int r = read_state(e, &state);

	if (r == 0 && state.journal)
		r = read_row(e, state.journal, &row);
	if (r < 0 || !state.journal)
		return r == -ENOENT ? 0 : r;
	if (row.committed < JOURNAL_MIN || !half_dead(&row))
		return 0;
	return journal_next(e, false);
}

static int choose(struct compaction *c, _Atomic uint64_t *total)
{
	struct index_state state;
	size_t n = 0;
	int r = read_state(c->e, &state);

	if (r == 0)
		r = index_list_rows(c->e->index, &c->rows);
	if (r < 0)
		return r;
	*total = 0;
	for (size_t i = 0; i < c->rows.n; i++) {
		const struct segment_row *row = &c->rows.v[i];

		if (row->id == state.journal || !half_dead(row))
			continue;
		*total += row->live;
		c->rows.v[n++] = *row;
	}
	c->rows.n = n;
	if (n)
		qsort(c->rows.v, n, sizeof(*c->rows.v), by_live);
	return 0;
}

static int seal(struct index_txn *t, void *arg)
{
	struct segment_row *row = arg;
	int r = index_row(t, row->id, row);

	if (r < 0)
		return r;
	row->sealed = true;
	return index_set_row(t, row);
}

/*
 * Locked and sealed, so that nobody appends to it or moves it from here on.
 * -EBUSY or -ENOENT, quietly, if it is not to be had.
 */
static int take_segment(
	struct compaction *c, struct segment_row *row, int *ret_fd)
{
	scoped(closep) int fd = -1;
	struct flock lock = { .l_type = F_WRLCK };
	int r = segment_open_append(c->e->dir, row->id, false, &fd);

	if (r < 0)
		return r;
	if (fcntl(fd, F_OFD_SETLK, &lock) != 0)
		return -EBUSY;
	r = read_row(c->e, row->id, row);
	if (r == 0 && !half_dead(row))
		r = -EBUSY;
	if (r == 0 && !row->sealed)
		r = index_update(c->e->index, seal, row);
	if (r == 0) {
		*ret_fd = fd;
		fd = -1;
	}
	return r;
}

/* Else what is moved might go to one that is to be moved next. */
static int seal_all(struct compaction *c)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->rows.n; i++) {
		int fd = -1;

		if (c->rows.v[i].sealed)
			continue;
		r = take_segment(c, &c->rows.v[i], &fd);
		closep(&fd);
		if (r == -EBUSY || r == -ENOENT)
			r = 0;
	}
	return r;
}

/*
 * Must the removal be remembered when its record goes? What comes back by that
 * when an index is rebuilt is garbage for the next collection, or, of labels
 * and the quarantine, says of something what is known of it anyway.
 */
static bool removal_matters(enum coll c)
{
	return c != COLL_CHUNKS && c != COLL_MAPS && c != COLL_LABELS &&
	       c != COLL_QUARANTINE;
}

static int move_record(struct compaction *c, struct mover *m, uint32_t from,
	const struct record *rec, const uint8_t *body)
{
	struct entry at;
	int r;

	if (rec->kind == RECORD_DAMAGED || coll_is_inline(rec->coll))
		return 0;
	if (rec->kind == RECORD_REMOVE)
		return removal_matters(rec->coll) ? mover_add(m, rec, body) : 0;
	r = embedded_find(c->e, rec->coll, &rec->key, &at);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	/* what is damaged stays, and the segment with it */
	if (at.segment != from || at.off != rec->off || !body ||
		at.version != rec->version || at.len != rec->body_len)
		return 0;
	return mover_add(m, rec, body);
}

static int move_all(struct compaction *c, const struct segment_row *row, int fd)
{
	scoped(mover_freep) struct mover *m = NULL;
	struct segment_scan scan;
	struct record rec;
	const uint8_t *body;
	int r = mover_new(c->e, row->id, &m);

	if (r < 0)
		return r;
	segment_scan_init(&scan, fd, segment_seed(&c->e->dir->seal, row->id),
		SEGMENT_HEADER, row->committed);
	while (r == 0 && (r = segment_scan_next(&scan, &rec, &body)) > 0) {
		r = c->cancel && *c->cancel ? -ECANCELED : 0;
		if (r == 0)
			r = move_record(c, m, row->id, &rec, body);
	}
	segment_scan_fini(&scan);
	if (r == 0)
		r = mover_flush(m);
	c->result.moved += mover_bytes(m);
	return r;
}

/* 0 only if nothing in it is alive; -EBUSY, quietly, otherwise. */
static int drop_row(struct index_txn *t, void *arg)
{
	const uint32_t *id = arg;
	struct segment_row row;
	int r = index_row(t, *id, &row);

	if (r == 0 && row.live != 0)
		r = -EBUSY;
	return r < 0 ? r : index_remove_row(t, *id);
}

/* The new places, and that there is none in here any more, come first. */
static int remove_segment(struct compaction *c, uint32_t id, int fd)
{
	char name[SEGMENT_NAME];
	struct stat st = { 0 };
	int r = index_update(c->e->index, drop_row, &id);

	if (r == 0)
		r = index_sync(c->e->index);
	if (r < 0)
		return r;
	fstat(fd, &st);
	if (unlinkat(c->e->dir->segments, segment_name(id, name), 0) != 0 &&
		errno != ENOENT)
		return fail(errno, "%s/segments/%s: %m", c->e->dir->path, name);
	segset_forget(c->e->segs, id);
	c->unlinked = true;
	c->result.n_removed++;
	c->result.freed += (uint64_t)st.st_blocks * 512;
	return 0;
}

static int compact_one(struct compaction *c, struct segment_row *row)
{
	scoped(closep) int fd = -1;
	int r = take_segment(c, row, &fd);

	if (r == 0 && row->live)
		do
			r = move_all(c, row, fd);
		while (embedded_again(c->h, r));
	if (r == 0)
		r = remove_segment(c, row->id, fd);
	*c->done += row->live;
	if (r == -EBUSY || r == -ENOENT) {
		log_debug("store", "segment %08x: stays", row->id);
		r = 0;
	}
	return r;
}

/* The index knows of nothing in it; else it has lost the row, not the file. */
static int check_orphan(struct compaction *c, uint32_t id, const char *name)
{
	scoped(closep) int fd = openat(
		c->e->dir->segments, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct segment_scan scan;
	const uint8_t *body;
	struct record rec;
	struct stat st;
	struct entry at;
	int r = 0;

	if (fd < 0 || fstat(fd, &st) != 0)
		return errno == ENOENT ? 0
				       : fail(errno, "%s/segments/%s: %m",
						 c->e->dir->path, name);
	segment_scan_init(&scan, fd, segment_seed(&c->e->dir->seal, id),
		SEGMENT_HEADER,
		MAX_OF((uint64_t)st.st_size, (uint64_t)SEGMENT_HEADER));
	while (r == 0 && (r = segment_scan_next(&scan, &rec, &body)) > 0) {
		r = 0;
		if (rec.kind != RECORD_PUT || coll_is_inline(rec.coll))
			continue;
		r = embedded_find(c->e, rec.coll, &rec.key, &at);
		if (r == 0 && at.segment == id)
			r = fail(EBADMSG,
				"%s: documents are in segments/%s, of which "
				"the index does not know: it is damaged "
				"(rebuild it with: hivefs repair --index)",
				c->e->dir->path, name);
		else if (r == -ENOENT)
			r = 0;
	}
	segment_scan_fini(&scan);
	return r;
}

static int remove_orphan(struct compaction *c, uint32_t id)
{
	char name[SEGMENT_NAME];
	int r = check_orphan(c, id, segment_name(id, name));

	if (r == 0 && unlinkat(c->e->dir->segments, name, 0) == 0)
		c->unlinked = true;
	return r;
}

/*
 * Files that no row of the table knows, of ids that were given out: what is
 * left of a removal that was interrupted. The names come first: a file that is
 * made meanwhile has a row before that.
 */
static int remove_orphans(struct compaction *c)
{
	struct vec(uint32_t) ids = { 0 };
	struct index_state state;
	int fd = openat(
		c->e->dir->fd, "segments", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	int r = 0;

	if (!dir) {
		r = fail(errno, "%s/segments: %m", c->e->dir->path);
		closep(&fd);
		return r;
	}
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has DIR */
	while (r == 0 && (d = readdir(dir)))
		if (segment_id(d->d_name) != 0 &&
			vec_add(&ids, segment_id(d->d_name)) < 0)
			r = fail(ENOMEM, "%s: %m", c->e->dir->path);
	closedir(dir);
	if (r == 0)
		r = read_state(c->e, &state);
	for (size_t i = 0; r == 0 && i < ids.n; i++) {
		struct segment_row row;

		r = ids.v[i] < state.next_segment
			    ? read_row(c->e, ids.v[i], &row)
			    : 0;
		if (r == -ENOENT)
			r = remove_orphan(c, ids.v[i]);
	}
	vec_fini(&ids);
	return r;
}

static int run(struct compaction *c, _Atomic uint64_t *total)
{
	int r = index_sync(c->e->index);

	slots_release(c->e->slots);
	if (r == 0)
		r = remove_orphans(c);
	if (r == 0)
		r = roll_journal(c->e);
	if (r == 0)
		r = choose(c, total);
	if (r == 0)
		r = seal_all(c);
	for (size_t i = 0; r == 0 && i < c->rows.n; i++) {
		if (c->cancel && *c->cancel)
			r = -ECANCELED;
		if (r == 0)
			r = compact_one(c, &c->rows.v[i]);
	}
	if (c->unlinked && fsync(c->e->dir->segments) != 0 && r == 0)
		r = fail(errno, "%s/segments: %m", c->e->dir->path);
	if (r == -ENOSPC) {
		c->result.partial = true;
		r = 0;
	}
	return r;
}

int embedded_compact(struct store *s, _Atomic uint64_t *done,
	_Atomic uint64_t *total, const _Atomic bool *cancel,
	struct store_compact *ret)
{
	struct handle *h = handle_of(s);
	struct compaction c = {
		.h = h, .e = h->e, .done = done, .cancel = cancel
	};
	int r = embedded_changeable(h);

	*done = 0;
	if (r == 0)
		r = run(&c, total);
	vec_fini(&c.rows);
	*ret = c.result;
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/journal.h"

#include <errno.h>
#include <unistd.h>

#include "src/log.h"

/* more than a failed transaction can have used */
#define ORDERS_MAX 65536

void journal_init(struct journal *j, struct embedded *e)
{
	*j = (struct journal){ .e = e };
}

/*
 * Open and ending at its committed length. What an unfinished change of another
 * process left there is cut off before anything is appended: rebuilding the
 * index must not find it and prefer it.
 */
static int open_end(struct journal *j)
{
	struct embedded *e = j->e;
	const struct segment_row *row = &j->row;
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
	j->begin = row->committed ? row->committed : SEGMENT_HEADER;
	return segment_trim(e->dir, row, e->journal_fd);
}

static bool is_io_error(int r)
{
	return r < 0 && r != -ENOSPC && r != -ENOMEM && r != -ENOENT;
}

static int find_row(struct journal *j, struct index_txn *t)
{
	int r = index_state(t, &j->state);

	if (r < 0)
		return r;
	r = j->state.journal ? index_row(t, j->state.journal, &j->row)
			     : -ENOENT;
	return r == 0 && j->row.sealed ? -ENOENT : r;
}

int journal_begin(struct journal *j, struct index_txn *t)
{
	struct embedded *e = j->e;
	int r;

	if (j->begun)
		return 0;
	r = find_row(j, t);
	j->full = r == -ENOENT;
	if (r < 0)
		return r;
	r = open_end(j);
	j->full = r == -ENOENT;
	j->io_error = is_io_error(r);
	if (r < 0)
		return r;
	if (segment_append_init(&j->append, e->journal_fd,
		    segment_seed(&e->dir->seal, j->row.id), j->begin) < 0)
		return fail(ENOMEM, "%s: %m", e->dir->path);
	j->begun = true;
	return 0;
}

static int written(struct journal *j, int r)
{
	j->io_error = is_io_error(r);
	if (j->io_error)
		fail(-r, "%s/segments/%08x.seg: write: %m", j->e->dir->path,
			j->row.id);
	return r;
}

int journal_append(
	struct journal *j, struct record *rec, const void *body, bool fresh)
{
	int r;

	if (fresh)
		rec->order = j->state.order++;
	r = written(j, segment_append(&j->append, rec, body));
	j->row.colls |= (uint16_t)(1u << rec->coll);
	return r;
}

int journal_end(struct journal *j, struct index_txn *t)
{
	struct segment_row now;
	int r;

	if (!j->begun)
		return 0;
	r = written(j, segment_append_flush(&j->append));
	/* its live bytes have changed since the row was read */
	if (r == 0)
		r = index_row(t, j->row.id, &now);
	if (r < 0)
		return r;
	now.committed = j->append.end;
	now.colls |= j->row.colls;
	now.sealed = now.committed >= segment_limit(j->e->dir);
	r = index_set_row(t, &now);
	if (r == 0)
		r = index_set_state(t, &j->state);
	j->ended = r == 0;
	return r;
}

void journal_fini(struct journal *j)
{
	if (!j->begun)
		return;
	/* give the space back; the next to append would do it, too */
	if (!j->ended && ftruncate(j->e->journal_fd, (off_t)j->begin) != 0)
		log_debug("store", "segment %08x: %m", j->row.id);
	segment_append_fini(&j->append);
	j->begun = false;
}

bool journal_failed(const struct journal *j)
{
	return j->full || j->io_error;
}

static int next(struct index_txn *t, void *arg)
{
	bool io_error = *(const bool *)arg;
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
	if (r == 0 && io_error) {
		state.order += ORDERS_MAX;
		r = index_set_state(t, &state);
	}
	return r < 0 ? r : segment_allocate(t, true, &row);
}

int journal_next(struct embedded *e, bool io_error)
{
	return index_update(e->index, next, &io_error);
}

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/repair_lost.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "repo/index.h"
#include "repo/segment.h"
#include "src/bytes.h"
#include "src/log.h"

static void say_nothing(enum log_level level, const char *text)
{
	(void)level;
	(void)text;
}

/* What the child tells: a segment's length, or a document. */
struct told {
	enum { TOLD_NEXT, TOLD_ROW, TOLD_DOC } kind;
	uint32_t next_segment;
	struct repair_row row;
	struct repair_known doc;
};

static int tell_next(struct index *ix, FILE *to)
{
	struct told told = { .kind = TOLD_NEXT };
	struct index_state state;
	struct index_txn t;
	int r = index_read(ix, &t);

	if (r < 0)
		return r;
	r = index_state(&t, &state);
	index_read_end(&t);
	if (r < 0)
		return r;
	told.next_segment = state.next_segment;
	return fwrite(&told, sizeof(told), 1, to) == 1 ? 0 : -EIO;
}

static int tell_rows(struct index *ix, FILE *to)
{
	struct segment_rows rows = { 0 };
	int r = index_list_rows(ix, &rows);

	for (size_t i = 0; r == 0 && i < rows.n; i++) {
		struct told t = { .kind = TOLD_ROW,
			.row = { rows.v[i].id, rows.v[i].committed } };

		if (fwrite(&t, sizeof(t), 1, to) != 1)
			r = -EIO;
	}
	vec_fini(&rows);
	return r;
}

#define TELL_BATCH 64

static int tell_some(
	struct index *ix, struct index_scan *at, struct index_item *v, FILE *to)
{
	struct index_txn t;
	size_t n = 0;
	int r = index_read(ix, &t);

	if (r < 0)
		return r;
	r = index_scan(&t, at, v, TELL_BATCH, &n);
	index_read_end(&t);
	for (size_t i = 0; i < n && r == 0; i++) {
		const struct entry *e = &v[i].at;
		struct told told = { .kind = TOLD_DOC,
			.doc = {
				.at = { at->coll, v[i].key, e->segment,
					e->off },
				.version = e->version,
				.len = entry_record_len(&v[i].key, e),
			} };

		if (fwrite(&told, sizeof(told), 1, to) != 1)
			r = -EIO;
	}
	index_items_fini(v, n);
	return r;
}

/* In the child: all that the index has, but for content, into TO. */
static int tell(const struct repodir *d, FILE *to)
{
	scoped(index_closep) struct index *ix = NULL;
	struct index_item v[TELL_BATCH];
	int r;

	if (faccessat(d->fd, "index/data.mdb", F_OK, 0) != 0)
		return -ENOENT;
	r = index_open(d->index, &d->seal.uuid, INDEX_READ_ONLY, &ix);
	if (r == 0)
		r = tell_next(ix, to);
	if (r == 0)
		r = tell_rows(ix, to);
	for (enum coll c = 0; r == 0 && c < N_COLLS; c++) {
		struct index_scan at = { .coll = c };

		if (coll_is_content(c) || coll_is_inline(c))
			continue;
		while (r == 0 && !at.done)
			r = tell_some(ix, &at, v, to);
	}
	return r;
}

static void check_row(const struct repodir *d, uint32_t id, uint64_t committed,
	struct store_repair *result)
{
	char name[SEGMENT_NAME];
	struct stat st = { 0 };
	uint64_t end, lost;

	if (fstatat(d->segments, segment_name(id, name), &st, 0) != 0 &&
		errno != ENOENT)
		return;
	/* a header alone, which a kill may have prevented, holds none */
	end = MAX_OF((uint64_t)st.st_size, (uint64_t)SEGMENT_HEADER);
	if (end >= committed)
		return;
	lost = committed - end;
	log_error("%s/segments/%s: %s: %" PRIu64 " bytes of documents are lost",
		d->path, name, st.st_nlink ? "ends too early" : "is missing",
		lost);
	result->damaged++;
	result->damaged_bytes += lost;
}

static void take_told(const struct repodir *d, const struct told *t,
	struct store_repair *result, struct repair_old *ret)
{
	int r = 0;

	switch (t->kind) {
	case TOLD_NEXT:
		ret->next_segment = t->next_segment;
		break;
	case TOLD_ROW:
		check_row(d, t->row.segment, t->row.committed, result);
		r = vec_add(&ret->rows, t->row);
		break;
	case TOLD_DOC:
		r = vec_add(&ret->known, t->doc);
		break;
	}
	if (r < 0)
		log_warn("%s: %m", d->path);
}

/* What reads a damaged index may be ended by it: a process of its own. */
void repair_find_lost(const struct repodir *d, struct store_repair *result,
	struct repair_old *ret)
{
	int fds[2];
	pid_t child;
	struct told t;
	FILE *from;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return;
	child = fork();
	if (child == 0) {
		FILE *to = fdopen(fds[1], "w");

		/* who kills us must not have to wait for this one, too */
		close(d->lock);
		log_set_sink(say_nothing);
		log_set_at_exit(NULL);
		/* what was told before an error is as good as the rest */
		if (to && tell(d, to) != -EIO)
			fclose(to);
		_exit(0);
	}
	close(fds[1]);
	from = fdopen(fds[0], "r");
	while (child > 0 && from && fread(&t, sizeof(t), 1, from) == 1)
		take_told(d, &t, result, ret);
	if (from)
		fclose(from);
	else
		close(fds[0]);
	if (child > 0)
		waitpid(child, NULL, 0);
}

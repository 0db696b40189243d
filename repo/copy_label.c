/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/copy_label.h"

#include <errno.h>
#include <string.h>

#include "repo/bookmark.h"
#include "src/bytes.h"

struct merging {
	const struct label *from;
	bool bookmarks; /* some are new */
};

/* The mark at *AT, which moves behind it; false at the end. */
static bool next_mark(const char **at, char mark[LABEL_MARKS_MAX + 1])
{
	size_t len = strcspn(*at, " ");

	if (!**at)
		return false;
	memcpy(mark, *at, len);
	mark[len] = 0;
	*at += len + ((*at)[len] == ' ');
	return true;
}

/* 1: there is nothing to change. */
static int merge(void *arg, struct label *l)
{
	struct merging *m = arg;
	const char *at = m->from->marks;
	char mark[LABEL_MARKS_MAX + 1];
	bool changed = false;

	if (l->removed)
		return 1;
	while (next_mark(&at, mark)) {
		int r = label_add(l, mark);

		if (r < 0)
			return r;
		changed |= r > 0;
		m->bookmarks |= r > 0 && mark[0] == '#';
	}
	if (m->from->hold_until > l->hold_until) {
		l->hold_until = m->from->hold_until;
		changed = true;
	}
	return !changed;
}

int copy_label(const struct copy *job, const struct point_id *id,
	struct label *ret, bool *ret_changed, bool *ret_bookmarks)
{
	struct merging m = { .from = ret };
	int r = label_get(job->from, id, ret);

	if (r == 0 && (ret->marks[0] || ret->hold_until))
		r = label_update(job->to, id, merge, &m);
	else if (r == 0)
		r = 1;
	*ret_changed = r == 0;
	*ret_bookmarks = r == 0 && m.bookmarks;
	return MIN_OF(r, 0);
}

int copy_bookmarks(const struct copy *job, const struct point_id *id,
	const struct label *l)
{
	char mark[LABEL_MARKS_MAX + 1];
	const char *at = l->marks;
	int r = 0;

	while (r == 0 && next_mark(&at, mark))
		if (mark[0] == '#')
			r = bookmark_take(job->to, id, mark);
	return r == -EBADMSG ? 0 : r;
}

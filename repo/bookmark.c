/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/bookmark.h"

#include <errno.h>

struct taking {
	struct repo *repo;
	const struct point_id *to;
	const char *mark;
};

/* 1: there is nothing to change. */
static int take_mark(void *arg, struct label *l)
{
	const struct taking *t = arg;
	int r = l->removed ? 0 : label_take(l, t->mark);

	return r < 0 ? r : !r;
}

static int take_from_other(void *arg, const struct point *p)
{
	struct taking *t = arg;
	struct key a = point_key(&p->id), b = point_key(t->to);
	struct label l;
	int r;

	if (key_eq(&a, &b))
		return 0;
	r = label_get(t->repo, &p->id, &l);
	if (r == 0 && label_has(&l, t->mark))
		r = label_update(t->repo, &p->id, take_mark, t);
	return r == 1 ? 0 : r;
}

int bookmark_take(struct repo *r, const struct point_id *to, const char *mark)
{
	struct taking t = { .repo = r, .to = to, .mark = mark };

	return point_list(r, &to->machine, false, take_from_other, &t);
}

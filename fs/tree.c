/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/tree.h"

#include <assert.h>
#include <errno.h>
#include <search.h>
#include <string.h>

#include "fs/dir.h"
#include "fs/point_json.h"
#include "src/bytes.h"
#include "src/digest.h"
#include "src/log.h"

/*
 * What never changes is remembered until memory is short. Names that may come
 * and go below a path that did not: points (rm), machines, latest.
 */
#define FOR_EVER 86400.0
#define BRIEFLY 1.0

/* Of nodes: their id is their first member. */
static int compare(const void *a, const void *b)
{
	const struct node_id *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->disk != y->disk)
		return x->disk < y->disk ? -1 : 1;
	if (x->format != y->format)
		return x->format < y->format ? -1 : 1;
	static_assert(sizeof(x->point) == POINT_ID_LEN, "no padding");
	return memcmp(&x->point, &y->point, sizeof(x->point));
}

uint64_t node_ino(const struct node_id *id)
{
	uint8_t b[8 + POINT_ID_LEN + 16] = { 0 };
	struct key key = point_key(&id->point);
	struct digest d;

	put_le32(b, (uint32_t)id->kind);
	put_le32(b + 4, id->disk);
	memcpy(b + 8, key.b, POINT_ID_LEN);
	if (id->format)
		memcpy(b + 8 + POINT_ID_LEN, id->format->extension,
			MIN_OF(strlen(id->format->extension), 16u));
	d = digest_of(b, sizeof(b));
	return get_le64(d.b) | 2; /* 0 is none, 1 the root */
}

void tree_init(struct tree *t, struct repo *r, int64_t now)
{
	*t = (struct tree){ .repo = r, .started = now };
	t->root = (struct node){ .id = { .kind = NODE_ROOT },
		.parent = &t->root,
		.ino = 1,
		.n_refs = 1 };
	pthread_mutex_init(&t->lock, NULL);
}

static void node_free(struct node *n)
{
	struct point *p = atomic_load(&n->point);

	if (p)
		point_fini(p);
	free(p);
	free(n);
}

static void free_any(void *node)
{
	node_free(node);
}

void tree_fini(struct tree *t)
{
	tdestroy(t->nodes, free_any);
	pthread_mutex_destroy(&t->lock);
}

int tree_get(struct tree *t, struct node *parent, const struct node_id *id,
	struct node **ret)
{
	struct node *fresh = calloc(1, sizeof(*fresh));
	struct node **slot, *n = NULL;

	if (!fresh)
		return fail(ENOMEM, "nodes: %m");
	/* the same file is in a point's directory and in its ro/ */
	if (id->kind == NODE_VIEW && parent->id.kind == NODE_RO)
		parent = parent->parent;
	fresh->id = *id;
	fresh->ino = node_ino(id);
	fresh->parent = parent;
	pthread_mutex_lock(&t->lock);
	slot = tsearch(fresh, &t->nodes, compare);
	if (slot) {
		n = *slot;
		n->n_refs++;
	}
	if (n == fresh)
		parent->n_refs++;
	pthread_mutex_unlock(&t->lock);
	if (n != fresh)
		free(fresh);
	if (!n)
		return fail(ENOMEM, "nodes: %m");
	*ret = n;
	return 0;
}

void tree_forget(struct tree *t, struct node *n, uint64_t count)
{
	pthread_mutex_lock(&t->lock);
	while (n != &t->root) {
		struct node *parent = n->parent;

		n->n_refs -= MIN_OF(count, n->n_refs);
		if (n->n_refs)
			break;
		tdelete(n, &t->nodes, compare);
		node_free(n);
		n = parent;
		count = 1;
	}
	pthread_mutex_unlock(&t->lock);
}

int tree_point(struct tree *t, struct node *n, const struct point **ret)
{
	struct point *p, *none = NULL;
	int r;

	while (n->id.kind != NODE_POINT)
		n = n->parent;
	p = atomic_load(&n->point);
	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return fail(ENOMEM, "points: %m");
		r = point_get(t->repo, &n->id.point, p);
		if (r < 0) {
			free(p);
			return r;
		}
		if (!atomic_compare_exchange_strong(&n->point, &none, p)) {
			point_fini(p);
			free(p);
			p = none;
		}
	}
	*ret = p;
	return 0;
}

mode_t node_type(enum node_kind kind)
{
	switch (kind) {
	case NODE_ROOT:
	case NODE_CONTROL:
	case NODE_MACHINE:
	case NODE_POINT:
	case NODE_RO:
		return S_IFDIR;
	case NODE_LATEST:
		return S_IFLNK;
	case NODE_STATUS:
	case NODE_METRICS:
	case NODE_POINT_JSON:
	case NODE_VIEW:
		return S_IFREG;
	}
	return S_IFREG;
}

double node_timeout(const struct node *n)
{
	switch (n->id.kind) {
	case NODE_MACHINE:
	case NODE_LATEST:
	case NODE_POINT:
	case NODE_STATUS:
	case NODE_METRICS:
	case NODE_ROOT:
		return BRIEFLY;
	case NODE_CONTROL:
	case NODE_POINT_JSON:
	case NODE_RO:
	case NODE_VIEW:
		return FOR_EVER;
	}
	return 0;
}

static int stat_view(struct tree *t, struct node *n, struct stat *st)
{
	const struct point *p;
	struct layout l;
	int r = tree_point(t, n, &p);

	if (r == 0)
		r = n->id.format->layout(p->disks.v[n->id.disk].size, &l);
	if (r < 0)
		return r;
	st->st_nlink = 2; /* the same file is in ro/ */
	st->st_size = (off_t)layout_size(&l);
	st->st_blocks =
		(blkcnt_t)(round_up(l.prefix + l.suffix +
					    p->disks.v[n->id.disk].stats.data,
				   512) /
			   512);
	return 0;
}

static int stat_point_json(struct tree *t, struct node *n, struct stat *st)
{
	const struct point *p;
	char *text;
	int r = tree_point(t, n, &p);

	if (r == 0)
		r = point_json(p, &text);
	if (r < 0)
		return r;
	st->st_size = (off_t)strlen(text);
	st->st_blocks = (blkcnt_t)(round_up((uint64_t)st->st_size, 512) / 512);
	free(text);
	return 0;
}

/* A machine's directory is as old as what was last put into it. */
static int stat_newest(struct tree *t, struct node *n, struct stat *st)
{
	struct point_id newest;
	char name[POINT_NAME];
	int r = dir_newest(t, &n->id.point.machine, &newest, name);

	if (r == -ENOENT && n->id.kind == NODE_MACHINE)
		return 0; /* its first backup is under way */
	if (r < 0)
		return r;
	st->st_mtime = (time_t)newest.time;
	if (n->id.kind == NODE_LATEST)
		st->st_size = (off_t)strlen(name);
	return 0;
}

int tree_stat(struct tree *t, struct node *n, struct stat *ret)
{
	mode_t type = node_type(n->id.kind);
	mode_t mode = S_ISDIR(type) ? 0555 : 0444;
	struct stat st = { .st_ino = n->ino,
		.st_nlink = S_ISDIR(type) ? 2 : 1,
		.st_uid = t->uid,
		.st_gid = t->gid,
		.st_blksize = 1 << 20,
		.st_mtime = (time_t)t->started };
	int r = 0;

	st.st_mode = type | (S_ISLNK(type) ? 0777 : mode & ~t->umask);
	switch (n->id.kind) {
	case NODE_ROOT:
	case NODE_CONTROL:
	case NODE_STATUS:
	case NODE_METRICS:
		break;
	case NODE_MACHINE:
	case NODE_LATEST:
		r = stat_newest(t, n, &st);
		break;
	case NODE_POINT:
	case NODE_RO:
		st.st_mtime = (time_t)n->id.point.time;
		break;
	case NODE_POINT_JSON:
		st.st_mtime = (time_t)n->id.point.time;
		r = stat_point_json(t, n, &st);
		break;
	case NODE_VIEW:
		st.st_mtime = (time_t)n->id.point.time;
		r = stat_view(t, n, &st);
		break;
	}
	st.st_atime = st.st_ctime = st.st_mtime;
	if (r == 0)
		*ret = st;
	return r;
}

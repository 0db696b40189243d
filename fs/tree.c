/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/tree.h"

#include <assert.h>
#include <errno.h>
#include <search.h>
#include <string.h>

#include "fs/clone_json.h"
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
	if (x->foreign != y->foreign)
		return x->foreign < y->foreign ? -1 : 1;
	static_assert(sizeof(x->point) == POINT_ID_LEN, "no padding");
	return memcmp(&x->point, &y->point, sizeof(x->point))
		       ?: memcmp(&x->clone, &y->clone, sizeof(x->clone));
}

uint64_t node_ino(const struct node_id *id)
{
	uint8_t b[8 + POINT_ID_LEN + 16 + sizeof(id->clone) + 8] = { 0 };
	struct key key = point_key(&id->point);
	struct digest d;

	put_le32(b, (uint32_t)id->kind);
	put_le32(b + 4, id->disk);
	memcpy(b + 8, key.b, POINT_ID_LEN);
	if (id->format)
		memcpy(b + 8 + POINT_ID_LEN, id->format->ending + 1,
			MIN_OF(strlen(id->format->ending + 1), 16u));
	memcpy(b + 8 + POINT_ID_LEN + 16, id->clone.b, sizeof(id->clone.b));
	if (id->foreign)
		put_le64(b + sizeof(b) - 8, foreign_number(id->foreign));
	d = digest_of(b, id->foreign ? sizeof(b) : sizeof(b) - 8);
	return get_le64(d.b) | 2; /* 0 is none, 1 the root */
}

void tree_init(struct tree *t, struct repo *r, struct branches *branches,
	struct foreigns *foreigns, int64_t now)
{
	*t = (struct tree){ .repo = r,
		.branches = branches,
		.foreigns = foreigns,
		.started = now };
	t->root = (struct node){ .id = { .kind = NODE_ROOT },
		.parent = &t->root,
		.ino = 1,
		.n_refs = 1 };
	pthread_mutex_init(&t->lock, NULL);
}

void node_id_fini(struct node_id *id)
{
	if (id->foreign)
		foreign_put(take(id->foreign));
}

static void node_free(struct node *n)
{
	struct point *p = atomic_load(&n->point);

	node_id_fini(&n->id);
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
	vec_fini(&t->removed);
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
	if (n == fresh) {
		parent->n_refs++;
		if (n->id.foreign)
			foreign_ref(n->id.foreign);
	}
	pthread_mutex_unlock(&t->lock);
	if (n != fresh)
		free(fresh);
	if (!n)
		return fail(ENOMEM, "nodes: %m");
	*ret = n;
	return 0;
}

/* Lock held: where it is, or how many there are. */
static size_t find_removed(const struct tree *t, const struct node_id *id)
{
	size_t i = 0;

	while (i < t->removed.n && compare(&t->removed.v[i], id) != 0)
		i++;
	return i;
}

int tree_hide(struct tree *t, const struct node_id *id)
{
	int r = 0;

	pthread_mutex_lock(&t->lock);
	if (find_removed(t, id) == t->removed.n)
		r = vec_add(&t->removed, *id);
	pthread_mutex_unlock(&t->lock);
	return r < 0 ? fail(ENOMEM, "nodes: %m") : 0;
}

void tree_show(struct tree *t, const struct node_id *id)
{
	size_t i;

	pthread_mutex_lock(&t->lock);
	i = find_removed(t, id);
	if (i < t->removed.n)
		t->removed.v[i] = t->removed.v[--t->removed.n];
	pthread_mutex_unlock(&t->lock);
}

bool tree_is_hidden(struct tree *t, const struct node_id *id)
{
	bool is;

	pthread_mutex_lock(&t->lock);
	is = find_removed(t, id) < t->removed.n;
	pthread_mutex_unlock(&t->lock);
	return is;
}

void tree_show_all(struct tree *t, const struct uuid *clone)
{
	pthread_mutex_lock(&t->lock);
	for (size_t i = t->removed.n; i-- > 0;)
		if (memcmp(&t->removed.v[i].clone, clone, sizeof(*clone)) == 0)
			t->removed.v[i] = t->removed.v[--t->removed.n];
	pthread_mutex_unlock(&t->lock);
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

bool node_has_point(const struct node *n)
{
	while (n->id.kind != NODE_POINT && n->parent != n)
		n = n->parent;
	return n->id.kind == NODE_POINT;
}

bool node_clone_id(const struct node *n, struct uuid *ret)
{
	switch (n->id.kind) {
	case NODE_POINT:
		*ret = clone_own_id(&n->id.point);
		return true;
	case NODE_CLONE:
	case NODE_CLONE_JSON:
	case NODE_CLONE_VIEW:
	case NODE_FOREIGN_DIR:
	case NODE_FOREIGN:
		*ret = n->id.clone;
		return true;
	case NODE_ROOT:
	case NODE_CONTROL:
	case NODE_STATUS:
	case NODE_METRICS:
	case NODE_MACHINE:
	case NODE_LATEST:
	case NODE_POINT_JSON:
	case NODE_RO:
	case NODE_VIEW:
	case NODE_CLONES:
		break;
	}
	return false;
}

bool tree_foreign_dir(
	const struct tree *t, const struct node *n, struct foreign_dir *ret)
{
	if (t->read_only ||
		(n->id.kind != NODE_POINT && n->id.kind != NODE_CLONE &&
			n->id.kind != NODE_FOREIGN_DIR))
		return false;
	ret->in = n->id.foreign;
	return node_clone_id(n, &ret->clone);
}

bool node_is_controlled(const struct node *n)
{
	return n->id.kind == NODE_POINT || n->id.kind == NODE_CLONE;
}

int tree_clone(struct tree *t, struct node *n, struct clone *ret)
{
	struct uuid id;

	return node_clone_id(n, &id) ? clone_get(t->repo, &id, ret) : -ENOENT;
}

mode_t node_type(enum node_kind kind)
{
	switch (kind) {
	case NODE_ROOT:
	case NODE_CONTROL:
	case NODE_MACHINE:
	case NODE_POINT:
	case NODE_RO:
	case NODE_CLONES:
	case NODE_CLONE:
	case NODE_FOREIGN_DIR:
		return S_IFDIR;
	case NODE_LATEST:
		return S_IFLNK;
	case NODE_STATUS:
	case NODE_METRICS:
	case NODE_POINT_JSON:
	case NODE_VIEW:
	case NODE_CLONE_JSON:
	case NODE_CLONE_VIEW:
	case NODE_FOREIGN:
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
	case NODE_CLONES:
		return FOR_EVER;
	case NODE_CLONE:
	case NODE_CLONE_JSON:
		return 0; /* discarded when it is closed */
	case NODE_FOREIGN_DIR:
	case NODE_FOREIGN:
		return 0; /* one may become a view's metadata: rename */
	case NODE_CLONE_VIEW:
		return node_has_point(n) ? FOR_EVER : 0;
	}
	return 0;
}

double node_attr_timeout(const struct node *n)
{
	return n->id.kind == NODE_CLONE_VIEW ? 0 : node_timeout(n);
}

bool tree_shows(
	const struct tree *t, size_t row, uint64_t guest, uint32_t sector_size)
{
	struct layout l;

	return !(t->unshown >> row & 1) &&
	       format_at(row)->layout(guest, sector_size, &l) == 0;
}

/* A file has a name for each row that stands for it. */
static nlink_t names_of(const struct tree *t, const struct node *n,
	uint64_t guest, uint32_t sector_size)
{
	const struct format *f;
	nlink_t names = 0;

	for (size_t i = 0; (f = format_at(i)); i++)
		names += (f->same_as ?: f) == n->id.format &&
			 tree_shows(t, i, guest, sector_size);
	return names;
}

/* Over SMB, Windows refuses these when they look sparse. */
static bool is_thick(const struct tree *t, const struct format *f)
{
	return t->full_blocks && (strcmp(f->ending, ".vhd") == 0 ||
					 strcmp(f->ending, ".vhdx") == 0);
}

static int set_size(const struct tree *t, const struct node *n, uint64_t guest,
	uint32_t sector_size, const struct seen *seen, struct stat *st)
{
	const struct format *f = n->id.format;
	uint64_t size, bytes;
	struct layout l;
	int r = f->layout(guest, sector_size, &l);

	if (r < 0)
		return r;
	size = layout_size(&l);
	if (f->max_size && seen->lengths.v[f->number] != LENGTH_NONE)
		size = seen->lengths.v[f->number];
	bytes = l.disk ? l.prefix + l.suffix + seen->data : size;
	if (is_thick(t, f))
		bytes = size;
	st->st_nlink = names_of(t, n, guest, sector_size);
	st->st_size = (off_t)size;
	st->st_blocks = (blkcnt_t)(round_up(bytes, 512) / 512);
	return 0;
}

static int stat_view(struct tree *t, struct node *n, struct stat *st)
{
	struct seen seen = { 0 };
	const struct point_disk *d;
	const struct point *p;
	int r = tree_point(t, n, &p);

	if (r < 0)
		return r;
	d = &p->disks.v[n->id.disk];
	st->st_mtime = (time_t)n->id.point.time;
	seen.data = d->stats.data;
	memset(&seen.lengths, 0xff, sizeof(seen.lengths));
	r = set_size(t, n, d->size, d->sector_size, &seen, st);
	if (t->read_only)
		st->st_nlink *= 2; /* the same file is in ro/ */
	return r;
}

/* -ENOENT if there is no such clone, or if it is dropped just now. */
static int stat_closed_clone(struct tree *t, struct node *n, struct stat *st)
{
	const struct clone_disk *d;
	struct seen seen;
	struct clone c;
	int r = tree_clone(t, n, &c);

	if (r < 0)
		return r;
	if (n->id.disk >= c.disks.n) {
		clone_fini(&c);
		return -ENOENT;
	}
	d = &c.disks.v[n->id.disk];
	st->st_mtime = (time_t)c.created;
	r = glance_disk(&t->branches->glances, t->branches->cache, &c,
		n->id.disk, &seen);
	if (r == 0)
		r = set_size(t, n, d->size, d->sector_size, &seen, st);
	clone_fini(&c);
	return r;
}

static int stat_clone_view(struct tree *t, struct node *n, struct stat *st)
{
	struct branch_disk open;
	struct seen seen;
	int r;

	if (branches_disk(t->branches, &n->id.clone, n->id.disk, &open)) {
		seen = (struct seen){ open.data, open.lengths };
		st->st_mtime = (time_t)open.changed;
		return set_size(t, n, open.size, open.sector_size, &seen, st);
	}
	r = stat_closed_clone(t, n, st);
	return r == -ENOENT && node_has_point(n) ? stat_view(t, n, st) : r;
}

static int stat_clone(struct tree *t, struct node *n, struct stat *st)
{
	struct clone c;
	char *text;
	int r = tree_clone(t, n, &c);

	if (r < 0)
		return r;
	st->st_mtime = (time_t)c.created;
	if (n->id.kind == NODE_CLONE_JSON) {
		r = clone_json(&c, &text);
		if (r == 0) {
			st->st_size = (off_t)strlen(text);
			free(text);
		}
	}
	clone_fini(&c);
	return r;
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
	struct newest newest;
	char name[POINT_NAME];
	int r = dir_newest(t, &n->id.point.machine, &newest, name);

	/* its first backup is under way, or all its points are damaged */
	if ((r == -ENOENT || r == -EBADMSG) && n->id.kind == NODE_MACHINE)
		return 0;
	if (r < 0)
		return r;
	st->st_mtime = (time_t)newest.id.time;
	if (n->id.kind == NODE_LATEST)
		st->st_size = (off_t)strlen(name);
	return 0;
}

/* Views of clones are written to; on their directories is what is said to
 * them. */
static bool is_written(const struct tree *t, const struct node *n)
{
	if (t->read_only)
		return false;
	return n->id.kind == NODE_CLONE_VIEW ? !n->id.format->read_only
					     : node_is_controlled(n);
}

static mode_t mode_of(const struct tree *t, const struct node *n)
{
	bool written = is_written(t, n);

	switch (node_type(n->id.kind)) {
	case S_IFLNK:
		return S_IFLNK | 0777;
	case S_IFDIR:
		return S_IFDIR | ((written ? 0755 : 0555) & ~t->umask);
	default:
		return S_IFREG | ((written ? 0666 : 0444) & ~t->umask);
	}
}

int tree_stat(struct tree *t, struct node *n, struct stat *ret)
{
	bool is_dir = node_type(n->id.kind) == S_IFDIR;
	struct stat st = { .st_ino = n->ino,
		.st_mode = mode_of(t, n),
		.st_nlink = is_dir ? 2 : 1,
		.st_uid = t->uid,
		.st_gid = t->gid,
		.st_blksize = 1 << 20,
		.st_mtime = (time_t)t->started };
	int r = 0;

	switch (n->id.kind) {
	case NODE_ROOT:
	case NODE_CONTROL:
	case NODE_STATUS:
	case NODE_METRICS:
	case NODE_CLONES:
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
		r = stat_view(t, n, &st);
		break;
	case NODE_CLONE:
	case NODE_CLONE_JSON:
		r = stat_clone(t, n, &st);
		break;
	case NODE_CLONE_VIEW:
		r = stat_clone_view(t, n, &st);
		break;
	case NODE_FOREIGN_DIR:
	case NODE_FOREIGN:
		foreign_stat(n->id.foreign, &st);
		break;
	}
	st.st_atime = st.st_ctime = st.st_mtime;
	if (r == 0)
		*ret = st;
	return r;
}

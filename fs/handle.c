/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fs/clone_json.h"
#include "fs/point_json.h"
#include "fs/status.h"
#include "fs/view_write.h"
#include "src/log.h"

static int open_view(struct fs *fs, struct node *n, struct handle *h)
{
	const struct point *p;
	int r = tree_point(&fs->tree, n, &p);

	return r < 0 ? r
		     : view_open(fs->cache, p, n->id.disk, n->id.format,
			       &fs->tree.style, &h->view);
}

int handle_view(struct fs *fs, struct node *n, bool writes, struct view **ret)
{
	const struct point *p = NULL;
	int r = node_has_point(n) ? tree_point(&fs->tree, n, &p) : 0;

	return r < 0 ? r
		     : view_open_clone(&fs->branches, &n->id.clone, p,
			       n->id.disk, n->id.format, &fs->tree.style,
			       writes, ret);
}

/* Can it be opened so at all? */
static int check_flags(const struct fs *fs, const struct node *n, int flags)
{
	bool writes = (flags & O_ACCMODE) != O_RDONLY;
	const struct format *f =
		n->id.kind == NODE_CLONE_VIEW ? n->id.format : NULL;

	if (writes && (fs->tree.read_only || (!f && !n->id.foreign)))
		return -EROFS;
	if (writes && f && f->read_only)
		return fail(EROFS,
			"a %s file cannot be written to: write to the same "
			"disk's .img or another of its files",
			f->name);
	/* a disk has its size, and what cannot be cut is not emptied */
	if ((flags & O_TRUNC) && !n->id.foreign && !(f && f->max_size))
		return -EPERM;
	return 0;
}

static int open_clone_view(
	struct fs *fs, struct node *n, int flags, struct handle *h)
{
	int r = handle_view(fs, n, (flags & O_ACCMODE) != O_RDONLY, &h->view);

	if (r == 0 && (flags & O_TRUNC)) {
		r = h->view->writes ? view_resize(h->view, 0) : -EINVAL;
		if (r < 0)
			view_put(take(h->view));
	}
	return r;
}

static int open_clone_json(struct fs *fs, struct node *n, struct handle *h)
{
	struct clone c;
	int r = tree_clone(&fs->tree, n, &c);

	if (r < 0)
		return r;
	r = clone_json(&c, &h->text);
	clone_fini(&c);
	return r;
}

static int open_point_json(struct fs *fs, struct node *n, struct handle *h)
{
	const struct point *p;
	int r = tree_point(&fs->tree, n, &p);

	return r < 0 ? r : point_json(p, &h->text);
}

static int open_kind(struct fs *fs, struct node *n, int flags, struct handle *h)
{
	int r = check_flags(fs, n, flags);

	if (r < 0)
		return r;
	switch (n->id.kind) {
	case NODE_VIEW:
		return open_view(fs, n, h);
	case NODE_CLONE_VIEW:
		return open_clone_view(fs, n, flags, h);
	case NODE_POINT_JSON:
		return open_point_json(fs, n, h);
	case NODE_CLONE_JSON:
		return open_clone_json(fs, n, h);
	case NODE_STATUS:
		return status_json(fs, &h->text);
	case NODE_METRICS:
		return status_metrics(fs, &h->text);
	case NODE_FOREIGN:
		return flags & O_TRUNC ? foreign_resize(h->id.foreign, 0) : 0;
	case NODE_ROOT:
	case NODE_CONTROL:
	case NODE_MACHINE:
	case NODE_POINT:
	case NODE_RO:
	case NODE_CLONES:
	case NODE_CLONE:
	case NODE_FOREIGN_DIR:
		return 0; /* listed when it is read */
	case NODE_LATEST:
		break;
	}
	return -EINVAL;
}

int handle_open(struct fs *fs, struct node *n, int flags, struct handle **ret)
{
	struct handle *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return fail(ENOMEM, "open: %m");
	h->id = n->id;
	if (h->id.foreign)
		foreign_ref(h->id.foreign);
	r = open_kind(fs, n, flags, h);
	if (r < 0) {
		node_id_fini(&h->id);
		free(h);
		return r;
	}
	if (h->view)
		reader_init(&h->reader, &fs->prefetch, h->view);
	h->text_len = h->text ? strlen(h->text) : 0;
	pthread_mutex_lock(&fs->lock);
	h->next = fs->handles;
	h->link = &fs->handles;
	if (h->next)
		h->next->link = &h->next;
	fs->handles = h;
	pthread_mutex_unlock(&fs->lock);
	*ret = h;
	return 0;
}

void handle_free(struct fs *fs, struct handle *h)
{
	pthread_mutex_lock(&fs->lock);
	*h->link = h->next;
	if (h->next)
		h->next->link = h->link;
	pthread_mutex_unlock(&fs->lock);
	if (h->view) {
		reader_fini(&h->reader);
		view_put(h->view);
	}
	dir_fini(&h->dir);
	node_id_fini(&h->id);
	free(h->text);
	free(h);
}

void handle_list(struct fs *fs, struct handle *h, struct node *n)
{
	dir_fini(&h->dir);
	h->dir_error = dir_list(&fs->tree, n, &h->dir);
	h->dir_read = true;
}

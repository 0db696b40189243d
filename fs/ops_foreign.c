/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/ops_foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "fs/request.h"
#include "fs/view_write.h"
#include "fs/viewmeta.h"
#include "src/bytes.h"

/* What DIR is to foreign files, if one there may be called NAME. */
static int place(struct fs *fs, struct node *dir, const char *name,
	struct foreign_dir *ret)
{
	int r = strlen(name) > NAME_MAX ? -ENAMETOOLONG
					: dir_is_free(&fs->tree, dir, name);

	return r == 0 && !tree_foreign_dir(&fs->tree, dir, ret) ? -EPERM : r;
}

/* Makes it, and the node that the kernel knows it by. */
static int make(struct fs *fs, struct node *dir, const char *name, mode_t mode,
	struct fuse_entry_param *ret)
{
	struct foreign_dir in;
	struct node_id id = { .kind = S_ISDIR(mode) ? NODE_FOREIGN_DIR
						    : NODE_FOREIGN };
	int r = place(fs, dir, name, &in);

	if (r == 0)
		r = foreign_make(&fs->foreigns, &in, name, mode, &id.foreign);
	if (r < 0)
		return r;
	id.clone = in.clone;
	r = ops_entry(fs, dir, &id, ret);
	node_id_fini(&id);
	return r;
}

/* A view that was removed is made anew by who removed it. */
static int make_again(struct fs *fs, struct node *dir, const char *name,
	struct fuse_entry_param *ret)
{
	struct node_id id;
	int r = dir_find_hidden(&fs->tree, dir, name, &id);

	if (r < 0)
		return r;
	tree_show(&fs->tree, &id);
	return ops_entry(fs, dir, &id, ret);
}

void op_create(fuse_req_t req, fuse_ino_t ino, const char *name, mode_t mode,
	struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct node *dir = node_of(fs, ino);
	struct fuse_entry_param e;
	struct handle *h;
	int r = make_again(fs, dir, name, &e);

	if (r == -ENOENT)
		r = make(fs, dir, name, S_IFREG | (mode & 0777), &e);
	if (r < 0) {
		reply_status(req, r);
		return;
	}
	r = handle_open(fs, node_of(fs, e.ino), O_RDWR | O_TRUNC, &h);
	if (r < 0) {
		tree_forget(&fs->tree, node_of(fs, e.ino), 1);
		reply_status(req, r);
		return;
	}
	e.attr.st_size = 0;
	fi->fh = (uint64_t)(uintptr_t)h;
	fi->direct_io = 1;
	if (fuse_reply_create(req, &e, fi) == -ENOENT) {
		handle_free(fs, h);
		tree_forget(&fs->tree, node_of(fs, e.ino), 1);
	}
}

void op_mknod(fuse_req_t req, fuse_ino_t ino, const char *name, mode_t mode,
	dev_t dev)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param e;
	int r = S_ISREG(mode) ? make(fs, node_of(fs, ino), name,
					S_IFREG | (mode & 0777), &e)
			      : -EPERM;

	(void)dev;
	ops_reply_entry(req, r, &e);
}

void op_mkdir(fuse_req_t req, fuse_ino_t ino, const char *name, mode_t mode)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param e;
	int r = make(fs, node_of(fs, ino), name, S_IFDIR | (mode & 0777), &e);

	ops_reply_entry(req, r, &e);
}

static void remove_name(
	fuse_req_t req, fuse_ino_t ino, const char *name, bool is_dir)
{
	struct fs *fs = fs_of(req);
	struct foreign_dir in;
	int r = place(fs, node_of(fs, ino), name, &in);

	if (r == 0)
		r = foreign_remove(&fs->foreigns, &in, name, is_dir);
	reply_status(req, r);
}

/*
 * A view's metadata, if NAME in DIR is a file of that and nothing else: some
 * programs write it anew under another name, and rename that.
 */
static int find_replaced(struct fs *fs, struct node *dir, const char *name,
	struct fuse_entry_param *ret)
{
	struct node_id id;
	int r = dir_find(&fs->tree, dir, name, &id);

	if (r < 0)
		return r;
	r = -EPERM;
	if (id.kind == NODE_CLONE_VIEW && id.format->max_size)
		r = ops_entry(fs, dir, &id, ret);
	node_id_fini(&id);
	return r;
}

static int hide(struct fs *fs, struct node *n)
{
	struct view *v;
	int r = handle_view(fs, n, true, &v);

	if (r < 0)
		return r;
	r = viewmeta_forget(v);
	if (r == 0)
		r = view_sync(v);
	view_put(v);
	return r < 0 ? r : tree_hide(&fs->tree, &n->id);
}

/* Of ours only what can be made anew can be removed. */
void op_unlink(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param e;

	if (find_replaced(fs, node_of(fs, ino), name, &e) < 0) {
		remove_name(req, ino, name, false);
		return;
	}
	reply_status(req, hide(fs, node_of(fs, e.ino)));
	tree_forget(&fs->tree, node_of(fs, e.ino), 1);
}

void op_rmdir(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	remove_name(req, ino, name, true);
}

static int replace(struct fs *fs, struct node *n, struct foreign *f)
{
	scoped(freep) uint8_t *bytes = malloc(FOREIGN_MAX);
	struct view *v;
	int r = bytes ? handle_view(fs, n, true, &v) : -ENOMEM;

	if (r < 0)
		return r;
	r = viewmeta_replace(v, bytes, foreign_read(f, 0, FOREIGN_MAX, bytes));
	if (r == 0)
		r = view_sync(v);
	view_put(v);
	return r;
}

/* NAME in FROM becomes what NEW_NAME in DIR shows. */
static int rename_over(struct fs *fs, const struct foreign_dir *from,
	const char *name, struct node *dir, const char *new_name)
{
	scoped(foreign_putp) struct foreign *f = NULL;
	struct fuse_entry_param e;
	int r = foreign_find(&fs->foreigns, from, name, &f);

	if (r == 0 && foreign_is_dir(f))
		r = -ENOTDIR;
	if (r == 0)
		r = find_replaced(fs, dir, new_name, &e);
	if (r == -ENOENT)
		r = make_again(fs, dir, new_name, &e);
	if (r < 0)
		return r;
	r = replace(fs, node_of(fs, e.ino), f);
	tree_forget(&fs->tree, node_of(fs, e.ino), 1);
	return r < 0 ? r : foreign_remove(&fs->foreigns, from, name, false);
}

void op_rename(fuse_req_t req, fuse_ino_t ino, const char *name,
	fuse_ino_t new_ino, const char *new_name, unsigned flags)
{
	struct fs *fs = fs_of(req);
	struct node *dir = node_of(fs, new_ino);
	struct foreign_dir from, to;
	int r = place(fs, node_of(fs, ino), name, &from);

	if (r == 0 && flags == 0 &&
		dir_is_free(&fs->tree, dir, new_name) == -EPERM) {
		reply_status(req, rename_over(fs, &from, name, dir, new_name));
		return;
	}
	if (r == 0)
		r = place(fs, dir, new_name, &to);
	/* beside the views of another clone it would be another's */
	if (r == 0 && memcmp(&from.clone, &to.clone, sizeof(to.clone)) != 0)
		r = -EXDEV;
	if (r == 0)
		r = foreign_rename(
			&fs->foreigns, &from, name, &to, new_name, flags);
	reply_status(req, r);
}

void op_symlink(
	fuse_req_t req, const char *target, fuse_ino_t ino, const char *name)
{
	(void)target;
	(void)ino;
	(void)name;
	fuse_reply_err(req, EPERM);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_ino,
	const char *new_name)
{
	(void)new_ino;
	op_symlink(req, NULL, ino, new_name);
}

void foreign_answer(
	fuse_req_t req, struct foreign *f, size_t size, uint64_t off)
{
	scoped(freep) char *buf = malloc(size + 1);

	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	size = foreign_read(f, off, size, buf);
	fuse_reply_buf(req, buf, size);
}

void foreign_store(fuse_req_t req, struct handle *h, const char *buf,
	size_t size, off_t off)
{
	int r = foreign_write(h->id.foreign, (uint64_t)off, size, buf);

	if (r < 0)
		reply_status(req, r);
	else
		fuse_reply_write(req, size);
}

/* Its owner is who mounted, and its times are its own. */
void foreign_change(
	fuse_req_t req, struct node *n, const struct stat *attr, int to_set)
{
	struct fs *fs = fs_of(req);
	struct foreign *f = n->id.foreign;
	struct stat st;
	int r = 0;

	if (to_set & FUSE_SET_ATTR_SIZE)
		r = foreign_resize(f, (uint64_t)attr->st_size);
	if (r == 0 && (to_set & FUSE_SET_ATTR_MODE))
		foreign_chmod(f, attr->st_mode);
	if (r == 0)
		r = tree_stat(&fs->tree, n, &st);
	if (r < 0)
		reply_status(req, r);
	else
		fuse_reply_attr(req, &st, 0);
}

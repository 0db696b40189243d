/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/ops_write.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>

#include "fs/handle.h"
#include "fs/ops_foreign.h"
#include "fs/request.h"
#include "fs/view_write.h"
#include "fs/viewmeta.h"
#include "src/bytes.h"

/* A clone that was taken from us is over for its guest. */
static int write_error(int r)
{
	return r == -ESTALE || r == -ENOENT ? -EIO : r;
}

static struct view *writable(const struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);

	return h->view && h->view->writes ? h->view : NULL;
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
	off_t off, struct fuse_file_info *fi)
{
	struct view *v = writable(fi);
	int r;

	(void)ino;
	if (handle_of(fi)->id.foreign) {
		foreign_store(req, handle_of(fi), buf, size, off);
		return;
	}
	if (!v || is_misaligned(fi, off, size)) {
		fuse_reply_err(req, v ? EINVAL : EBADF);
		return;
	}
	r = view_write(v, (uint64_t)off, size, (const uint8_t *)buf);
	/* the flags are those of this very write: RWF_DSYNC is among them, and
	 * with direct I/O no fsync follows */
	if (r == 0 && (fi->flags & (O_DSYNC | O_SYNC)))
		r = view_sync(v);
	if (r < 0)
		reply_status(req, write_error(r));
	else
		fuse_reply_write(req, size);
}

/* close(2) waits for it. */
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct view *v = writable(fi);

	(void)ino;
	reply_status(req, v ? write_error(view_sync(v)) : 0);
}

/* Also of a handle for reading: what others wrote lasts then. */
void op_fsync(
	fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);

	(void)ino;
	(void)datasync;
	reply_status(req, h->view ? write_error(view_sync(h->view)) : 0);
}

static int fallocate_view(struct view *v, int mode, uint64_t off, uint64_t len)
{
	uint64_t size = viewmeta_size(v);
	bool keeps_size = mode & FALLOC_FL_KEEP_SIZE;
	int what = mode & ~FALLOC_FL_KEEP_SIZE;

	if (off + len > size && !keeps_size)
		return -EFBIG;
	if (what == 0)
		return 0; /* there is always space, or there is none */
	if (what != FALLOC_FL_ZERO_RANGE &&
		!(what == FALLOC_FL_PUNCH_HOLE && keeps_size))
		return -EOPNOTSUPP;
	off = MIN_OF(off, size);
	return view_zero(v, off, MIN_OF(len, size - off));
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
	off_t len, struct fuse_file_info *fi)
{
	struct view *v = writable(fi);
	int r;

	(void)ino;
	if (!v) {
		fuse_reply_err(req, EBADF);
		return;
	}
	r = fallocate_view(v, mode, (uint64_t)off, (uint64_t)len);
	if (r == 0 && (fi->flags & (O_DSYNC | O_SYNC)))
		r = view_sync(v);
	reply_status(req, write_error(r));
}

static int resize(
	struct fs *fs, struct node *n, uint64_t size, struct fuse_file_info *fi)
{
	struct view *v = fi ? writable(fi) : NULL;
	int r;

	if (v)
		return view_resize(v, size);
	r = handle_view(fs, n, true, &v);
	if (r == 0) {
		r = view_resize(v, size);
		view_put(v);
	}
	return r;
}

/*
 * Owners, permissions and times are those of the mount: libvirt sets them and
 * must be told that it could, but nobody would find them after a remount.
 */
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
	struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct node *n = node_of(fs, ino);
	struct stat st;
	int r;

	if (n->id.foreign) {
		foreign_change(req, n, attr, to_set);
		return;
	}
	r = tree_stat(&fs->tree, n, &st);
	if (r == 0 && (n->id.kind != NODE_CLONE_VIEW || fs->tree.read_only))
		r = -EPERM;
	if (r == 0 && (to_set & FUSE_SET_ATTR_SIZE) &&
		attr->st_size != st.st_size) {
		r = n->id.format->max_size
			    ? resize(fs, n, (uint64_t)attr->st_size, fi)
			    : -EPERM;
		if (r == 0)
			r = tree_stat(&fs->tree, n, &st);
	}
	if (r < 0)
		reply_status(req, r);
	else
		fuse_reply_attr(req, &st, node_attr_timeout(n));
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
	const char *value, size_t size, int flags)
{
	struct fs *fs = fs_of(req);

	(void)value;
	(void)size;
	(void)flags;
	reply_status(req, control_set(fs, node_of(fs, ino), name));
}

/* SIZE 0 asks how long it is. */
static void reply_xattr(
	fuse_req_t req, const char *value, size_t len, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, len);
	else if (size < len)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, value, len);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct fs *fs = fs_of(req);
	scoped(freep) char *value = NULL;
	int r = control_get(fs, node_of(fs, ino), name, &value);

	if (r < 0)
		reply_status(req, r);
	else
		reply_xattr(req, value, strlen(value), size);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct fs *fs = fs_of(req);
	scoped(freep) char *list = NULL;
	size_t len;
	int r = control_list(fs, node_of(fs, ino), &list, &len);

	if (r < 0)
		reply_status(req, r);
	else
		reply_xattr(req, list, len, size);
}

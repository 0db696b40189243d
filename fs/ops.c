/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <string.h>

#include "fs/dir.h"
#include "fs/handle.h"
#include "fs/ops_foreign.h"
#include "fs/ops_write.h"
#include "fs/request.h"
#include "src/bytes.h"

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fs *fs = userdata;

	/* what the kernel caches never changes: no read needs to ask first */
	conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
	/* a write is answered when it is in a stream, and not before */
	conn->want &= ~(unsigned)FUSE_CAP_WRITEBACK_CACHE;
	conn->max_write = MIN_OF(conn->max_write, LIVE_WRITE_MAX);
	/* the kernel takes the lesser of this and the device's setting */
	conn->max_readahead = 1 << 20;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	fs->ready(fs->ready_arg);
}

int ops_entry(struct fs *fs, struct node *parent, const struct node_id *id,
	struct fuse_entry_param *ret)
{
	struct node *n;
	int r = tree_get(&fs->tree, parent, id, &n);

	if (r < 0)
		return r;
	*ret = (struct fuse_entry_param){ .ino = (fuse_ino_t)(uintptr_t)n,
		.attr_timeout = node_attr_timeout(n),
		.entry_timeout = node_timeout(n) };
	r = tree_stat(&fs->tree, n, &ret->attr);
	if (r < 0)
		tree_forget(&fs->tree, n, 1);
	return r;
}

void ops_reply_entry(fuse_req_t req, int r, const struct fuse_entry_param *e)
{
	struct fs *fs = fs_of(req);

	if (r < 0)
		reply_status(req, r);
	else if (fuse_reply_entry(req, e) == -ENOENT)
		/* the process was interrupted: the kernel does not know it */
		tree_forget(&fs->tree, node_of(fs, e->ino), 1);
}

static void op_lookup(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct fs *fs = fs_of(req);
	struct node *dir = node_of(fs, ino);
	struct fuse_entry_param e;
	struct node_id id;
	int r = dir_find(&fs->tree, dir, name, &id);

	if (r == 0) {
		r = ops_entry(fs, dir, &id, &e);
		node_id_fini(&id);
	}
	ops_reply_entry(req, r, &e);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	struct fs *fs = fs_of(req);

	tree_forget(&fs->tree, node_of(fs, ino), count);
	fuse_reply_none(req);
}

static void op_forget_multi(
	fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct fs *fs = fs_of(req);

	for (size_t i = 0; i < count; i++)
		tree_forget(&fs->tree, node_of(fs, forgets[i].ino),
			forgets[i].nlookup);
	fuse_reply_none(req);
}

static void op_getattr(
	fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct node *n = node_of(fs, ino);
	struct stat st;
	int r = tree_stat(&fs->tree, n, &st);

	(void)fi;
	if (r < 0)
		reply_status(req, r);
	else
		fuse_reply_attr(req, &st, node_attr_timeout(n));
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct fs *fs = fs_of(req);
	struct node *n = node_of(fs, ino);
	char name[POINT_NAME];
	struct newest newest;
	int r = dir_newest(&fs->tree, &n->id.point.machine, &newest, name);

	if (r < 0)
		reply_status(req, r);
	else
		fuse_reply_readlink(req, name);
}

/*
 * As fuse_reply_open(). Of a clone's file, writes may be under way at once: the
 * library of Debian 12 cannot say so yet, and a kernel that does not know the
 * flag ignores it. Without it each waits for the one before it, also those that
 * a guest's disk controller has sent together.
 */
static int reply_open(fuse_req_t req, const struct fuse_file_info *fi)
{
	struct fuse_open_out out = { .fh = fi->fh };

	if (fi->keep_cache)
		out.open_flags |= FOPEN_KEEP_CACHE;
	if (fi->direct_io)
		out.open_flags |=
			FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
	return fuse_reply_buf(req, (const char *)&out, sizeof(out));
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct handle *h;
	int r;

	r = handle_open(fs, node_of(fs, ino), fi->flags, &h);
	if (r < 0) {
		reply_status(req, r);
		return;
	}
	fi->fh = (uint64_t)(uintptr_t)h;
	/* others have another length when they are opened; or they are a
	 * clone's, which changes by way of other files and mounts, too */
	if (h->id.kind == NODE_VIEW || h->id.kind == NODE_POINT_JSON)
		fi->keep_cache = 1;
	else
		fi->direct_io = 1;
	if (reply_open(req, fi) == -ENOENT)
		handle_free(fs, h);
}

static void op_release(
	fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	handle_free(fs_of(req), handle_of(fi));
	fuse_reply_err(req, 0);
}

/* The disk has logged what and where. */
static void read_failed(fuse_req_t req, struct handle *h, int r)
{
	struct fs *fs = fs_of(req);
	struct point p;
	int gone;

	atomic_fetch_add(&fs->n_read_errors, 1);
	/* a chunk that is missing is damage, unless its point was removed */
	if (r == -ENOENT && h->view->branch) {
		r = -EIO;
	} else if (r == -ENOENT) {
		gone = point_get(fs->repo, &h->id.point, &p);
		if (gone == 0)
			point_fini(&p);
		r = gone == -ENOENT ? -ESTALE : -EIO;
	}
	reply_status(req, r);
}

static void read_view(
	fuse_req_t req, struct handle *h, size_t size, uint64_t off)
{
	struct view_read read;
	int r;

	reader_saw(&h->reader, off, size);
	r = view_read(h->view, off, size, &read);
	if (r < 0) {
		read_failed(req, h, r);
		return;
	}
	/* without the copy of the vector that fuse_reply_iov() makes */
	if (read.n == 1)
		fuse_reply_buf(req, read.iov[0].iov_base, read.iov[0].iov_len);
	else
		fuse_reply_iov(req, read.iov, (int)read.n);
	view_read_fini(&read);
}

/*
 * Of a copy: who gets the answer may close the file, and that be done with,
 * before the call that gives it has returned. Sanitizers look at it then.
 */
static void read_text(
	fuse_req_t req, const struct handle *h, size_t size, size_t off)
{
	size_t from = MIN_OF(off, h->text_len);
	size_t len = MIN_OF(size, h->text_len - from);
	scoped(freep) char *copy = malloc(len + 1);

	if (!copy) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	memcpy(copy, h->text + from, len);
	fuse_reply_buf(req, copy, len);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);

	(void)ino;
	if (h->id.foreign) {
		foreign_answer(req, h->id.foreign, size, (uint64_t)off);
	} else if (!h->view) {
		read_text(req, h, size, (size_t)off);
	} else if (is_misaligned(fi, off, size)) {
		fuse_reply_err(req, EINVAL);
	} else {
		read_view(req, h, size, (uint64_t)off);
	}
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
	struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);
	uint64_t found;
	int r;

	(void)ino;
	if (!h->view) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	r = view_seek(h->view, (uint64_t)off, whence, &found);
	if (r < 0)
		reply_status(req, r);
	else
		fuse_reply_lseek(req, (off_t)found);
}

static void op_opendir(
	fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct handle *h;
	int r = handle_open(fs, node_of(fs, ino), O_RDONLY, &h);

	if (r < 0) {
		reply_status(req, r);
		return;
	}
	fi->fh = (uint64_t)(uintptr_t)h;
	if (fuse_reply_open(req, fi) == -ENOENT)
		handle_free(fs, h);
}

/* Entry AT, of which 0 and 1 are `.` and `..`; 0 if it does not fit. */
static size_t add_plain(fuse_req_t req, struct handle *h, struct node *dir,
	size_t at, char *buf, size_t room)
{
	const struct dir_entry *e = at < 2 ? NULL : &h->dir.v[at - 2];
	struct stat st = {
		.st_ino = e ? node_ino(&e->id)
			    : (at ? dir->parent->ino : dir->ino),
		.st_mode = e ? node_type(e->id.kind) : S_IFDIR,
	};
	const char *name = e ? e->name : at ? ".." : ".";
	size_t need =
		fuse_add_direntry(req, buf, room, name, &st, (off_t)(at + 1));

	return need <= room ? need : 0;
}

/* The same with its attributes; the kernel then knows the node. */
static size_t add_plus(fuse_req_t req, struct handle *h, struct node *dir,
	size_t at, char *buf, size_t room)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param none = { 0 }, e;
	const struct dir_entry *entry = at < 2 ? NULL : &h->dir.v[at - 2];
	const char *name = entry ? entry->name : at ? ".." : ".";
	size_t need = fuse_add_direntry_plus(req, NULL, 0, name, NULL, 0);

	if (need > room)
		return 0;
	/* no node (ino 0): the kernel looks the name up itself */
	none.attr.st_mode = entry ? node_type(entry->id.kind) : S_IFDIR;
	none.attr.st_ino = entry ? node_ino(&entry->id)
				 : (at ? dir->parent->ino : dir->ino);
	if (!entry || ops_entry(fs, dir, &entry->id, &e) < 0)
		e = none;
	return fuse_add_direntry_plus(
		req, buf, room, name, &e, (off_t)(at + 1));
}

static void read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi,
	size_t (*add)(fuse_req_t req, struct handle *h, struct node *dir,
		size_t at, char *buf, size_t room))
{
	struct fs *fs = fs_of(req);
	struct node *dir = node_of(fs, ino);
	struct handle *h = handle_of(fi);
	scoped(freep) char *buf = malloc(size);
	size_t n = 0, added;

	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	/* a listing goes on as it began; rewinddir() begins another */
	if (off == 0 || !h->dir_read)
		handle_list(fs, h, dir);
	for (size_t at = (size_t)off; at < h->dir.n + 2; at++) {
		added = add(req, h, dir, at, buf + n, size - n);
		if (!added)
			break;
		n += added;
	}
	/* what can be listed is, and then the error is told */
	if (n == 0 && h->dir_error < 0)
		reply_status(req, h->dir_error);
	else
		fuse_reply_buf(req, buf, n);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	read_dir(req, ino, size, off, fi, add_plain);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size,
	off_t off, struct fuse_file_info *fi)
{
	read_dir(req, ino, size, off, fi, add_plus);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = {
		.f_bsize = 4096, .f_frsize = 4096, .f_namemax = NAME_MAX
	};
	struct store_info info;
	int r = store_info(fs_of(req)->repo->store, &info);

	(void)ino;
	if (r < 0) {
		reply_status(req, r);
		return;
	}
	/* a server may not say: nobody is to be told that it is full */
	if (info.bytes_free == STORE_FREE_UNKNOWN)
		info.bytes_free = UINT64_C(1) << 50;
	st.f_blocks = (info.bytes + info.bytes_free) / st.f_frsize;
	st.f_bfree = st.f_bavail = info.bytes_free / st.f_frsize;
	fuse_reply_statfs(req, &st);
}

/*
 * What is not here costs nothing: the kernel asks once. It checks permissions
 * itself (default_permissions) and keeps locks itself:
 * file systems that took those over were left with locks of the dead.
 */
const struct fuse_lowlevel_ops fs_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.readlink = op_readlink,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.fsync = op_fsync,
	.fallocate = op_fallocate,
	.setattr = op_setattr,
	.lseek = op_lseek,
	.release = op_release,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_release,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.create = op_create,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
};

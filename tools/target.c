/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "tools/target.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "src/blk_file.h"
#include "src/log.h"
#include "src/text.h"

/* The directory of PATH; owned. */
static char *parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return slash == path ? strdup("/")
			     : strndup(path, (size_t)(slash - path));
}

/* Compares files, not names: bind mounts and links lead there too. */
static int check_outside(const char *name, const char *dir, const char *repo)
{
	scoped(freep) char *path = realpath(dir, NULL);
	struct stat at, root;

	if (!path)
		return fail(errno, "%s: %m", dir);
	if (!repo || stat(repo, &root) != 0)
		return 0;
	for (;;) {
		char *slash = strrchr(path, '/');

		if (stat(*path ? path : "/", &at) == 0 &&
			at.st_dev == root.st_dev && at.st_ino == root.st_ino)
			return fail(EINVAL,
				"%s: is inside the repository, which only "
				"hivefs itself may write",
				name);
		if (!slash)
			return 0;
		*slash = 0;
	}
}

/* What a device holds as far as libblkid knows it, into BUF; or 0. */
static int signature(int fd, const char *name, char *buf, size_t size)
{
	blkid_probe probe = blkid_new_probe();
	const char *type = NULL;
	int r;

	if (!probe || blkid_probe_set_device(probe, fd, 0, 0) != 0) {
		blkid_free_probe(probe);
		return fail(EIO, "%s: cannot be examined", name);
	}
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE);
	blkid_probe_enable_partitions(probe, 1);
	r = blkid_do_safeprobe(probe);
	if (r == 0 &&
		blkid_probe_lookup_value(probe, "TYPE", &type, NULL) != 0 &&
		blkid_probe_lookup_value(probe, "PTTYPE", &type, NULL) != 0)
		type = NULL;
	snprintf(buf, size, "%s", type ? type : "more than one file system");
	blkid_free_probe(probe);
	if (r == -1)
		return fail(EIO, "%s: cannot be examined", name);
	return r == 1 ? 0 : 1; /* -2: several that contradict each other */
}

static int check_device(struct target *t, uint64_t size, bool overwrite)
{
	char kind[64], need[16], have[16];
	int fd = open(t->name, O_RDWR | O_EXCL | O_CLOEXEC);
	int r;

	if (fd < 0 && errno == EBUSY)
		return fail(EBUSY,
			"%s: is mounted or in use; unmount or detach it first",
			t->name);
	if (fd < 0)
		return fail(errno == EPERM ? EACCES : errno, "%s: open: %m",
			t->name);
	r = overwrite ? 0 : signature(fd, t->name, kind, sizeof(kind));
	if (r != 0) {
		close(fd);
		return r < 0 ? r
			     : fail(EEXIST,
				       "%s: holds data (%s); --overwrite "
				       "replaces it",
				       t->name, kind);
	}
	r = blk_file_new(fd, t->name, true, &t->blk);
	if (r < 0)
		return r;
	if (t->blk->size < size)
		return fail(ENOSPC, "%s: has %s, the disk needs %s", t->name,
			size_text(t->blk->size, have), size_text(size, need));
	return 0;
}

/*
 * Opens PATH, which is a regular file, and locks it as a whole: against another
 * restore, and against qemu, which locks bytes of the images it has open.
 */
static int open_locked(const char *path, int flags, int *ret)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	scoped(closep) int fd = open(path,
		O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags, 0600);
	struct stat st;

	if (fd < 0)
		return fail(
			errno == EPERM ? EACCES : errno, "%s: open: %m", path);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return fail(EINVAL, "%s: not a file", path);
	/* a file system without locks has none to respect */
	if (fcntl(fd, F_OFD_SETLK, &whole) != 0 &&
		(errno == EAGAIN || errno == EACCES))
		return fail(EBUSY, "%s: in use by another program", path);
	*ret = take_fd(fd);
	return 0;
}

/*
 * Is there room for DATA bytes more? Not asked of file systems that compress,
 * nor of those that do not know.
 */
static int check_space(const char *name, const char *dir, uint64_t data)
{
	char need[16], have[16];
	struct statfs st;
	uint64_t room;

	if (statfs(dir, &st) != 0)
		return fail(errno, "%s: %m", dir);
	switch ((uint32_t)st.f_type) {
	case BTRFS_SUPER_MAGIC:
	case 0x2fc12fc1: /* ZFS */
	case 0xca451a4e: /* bcachefs */
		return 0;
	default:
		break;
	}
	room = (uint64_t)st.f_bavail * (uint64_t)st.f_bsize;
	if (st.f_blocks == 0 || room >= data)
		return 0;
	return fail(ENOSPC, "%s: has room for %s, the disk holds %s", name,
		size_text(room, have), size_text(data, need));
}

static int check_file(struct target *t, const struct stat *there,
	const struct target_options *o)
{
	scoped(freep) char *dir = parent_of(t->name);
	struct stat st;
	int r;

	if (!dir || asprintf(&t->partial, "%s.partial", t->name) < 0)
		return fail(ENOMEM, "%s: %m", t->name);
	r = check_outside(t->name, dir, o->repository);
	if (r < 0)
		return r;
	if (there && there->st_size > 0 && !o->overwrite)
		return fail(EEXIST,
			"%s: exists and is not empty; --overwrite replaces it",
			t->name);
	if (lstat(t->partial, &st) == 0) {
		if (!o->resume)
			return fail(EEXIST,
				"%s: left by an interrupted %s; %s, or remove "
				"it",
				t->partial, o->work, o->remedy);
		return open_locked(t->partial, 0, &t->fd);
	}
	if (errno != ENOENT)
		return fail(errno, "%s: %m", t->partial);
	t->rename_first = there != NULL;
	t->fresh = !there || there->st_size == 0;
	return there ? open_locked(t->name, 0, &t->fd)
		     : check_space(t->name, dir, o->data);
}

int target_check(const char *name, uint64_t size,
	const struct target_options *options, struct target *ret)
{
	struct stat st;
	bool there = stat(name, &st) == 0;

	*ret = (struct target){ .fd = -1 };
	if (!*name)
		return fail(EINVAL, "target: its name is empty");
	if (!there && errno != ENOENT)
		return fail(errno, "%s: %m", name);
	if (!there && lstat(name, &st) == 0)
		return fail(EINVAL, "%s: is a link to nothing", name);
	/* a link stays one: what it leads to is replaced */
	ret->name = there ? realpath(name, NULL) : strdup(name);
	if (!ret->name)
		return fail(errno, "%s: %m", name);
	if (there && S_ISBLK(st.st_mode))
		return check_device(ret, size, options->overwrite);
	if (there && !S_ISREG(st.st_mode))
		return fail(
			EINVAL, "%s: neither a file nor a block device", name);
	return check_file(ret, there ? &st : NULL, options);
}

static int open_partial(struct target *t)
{
	if (t->rename_first && rename(t->name, t->partial) != 0)
		return fail(errno == EPERM ? EACCES : errno, "%s: rename: %m",
			t->name);
	return t->fd < 0 ? open_locked(t->partial, O_CREAT | O_EXCL, &t->fd)
			 : 0;
}

static int set_size(struct target *t, uint64_t size)
{
	return ftruncate(t->fd, (off_t)size) == 0
		       ? 0
		       : fail(errno, "%s: length %" PRIu64 ": %m", t->partial,
				 size);
}

int target_prepare(struct target *t, uint64_t size)
{
	int r;

	if (t->blk)
		return 0;
	r = open_partial(t);
	if (r == 0)
		r = set_size(t, size);
	return r < 0 ? r
		     : blk_file_new(take_fd(t->fd), t->partial, true, &t->blk);
}

int target_prepare_empty(struct target *t, uint64_t size)
{
	int r = open_partial(t);

	if (r == 0)
		r = set_size(t, 0);
	if (r == 0)
		r = set_size(t, size);
	t->rename_first = false;
	t->fresh = true;
	return r < 0 ? r
		     : blk_file_new(take_fd(t->fd), t->partial, true, &t->blk);
}

int target_cut(struct target *t, uint64_t size)
{
	return truncate(t->partial, (off_t)size) == 0
		       ? 0
		       : fail(errno, "%s: length %" PRIu64 ": %m", t->partial,
				 size);
}

int target_sync_entry(const char *path)
{
	scoped(freep) char *dir = parent_of(path);
	scoped(closep) int fd =
		dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd < 0 || fsync(fd) != 0)
		return fail(errno, "%s: fsync of its directory: %m", path);
	return 0;
}

int target_finish(struct target *t)
{
	int r = blk_flush(t->blk);

	if (r < 0 || !t->partial)
		return r;
	if (rename(t->partial, t->name) != 0)
		return fail(errno, "%s: rename: %m", t->partial);
	return target_sync_entry(t->name);
}

void target_fini(struct target *t)
{
	if (t->blk)
		blk_close(t->blk);
	if (t->fd >= 0)
		close(t->fd);
	free(t->name);
	free(t->partial);
}

const char *target_repository(const char *url)
{
	if (strncmp(url, "file://", 7) == 0)
		return url + 7;
	return strstr(url, "://") ? NULL : url;
}

int target_directory(const char *name, const char *repository)
{
	scoped(freep) char *path = strdup(name);
	scoped(freep) char *dir = NULL;
	int r;

	if (!*name)
		return fail(EINVAL, "target: its name is empty");
	if (!path)
		return fail(ENOMEM, "%s: %m", name);
	/* "new/" lies in the directory that "new" lies in */
	for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = 0;
	dir = parent_of(path);
	if (!dir)
		return fail(ENOMEM, "%s: %m", name);
	r = check_outside(name, dir, repository);
	if (r < 0)
		return r;
	if (mkdir(path, 0777) != 0)
		return fail(errno == EPERM ? EACCES : errno, "%s: %m", name);
	return target_sync_entry(path);
}

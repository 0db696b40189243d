/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/repodir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include "repo/marker.h"
#include "src/bytes.h"
#include "src/log.h"

#define RESERVE_LEN (UINT64_C(16) << 20)
#define RESERVE_STEP (64u << 10)
/* less free space than this is not taken for the reserve */
#define RESERVE_SPARE (64u << 20)

/* bytes of the lock file that are locked */
enum { LOCK_OPEN = 0, LOCK_INDEX = 1 };

static int lock_byte(int fd, int cmd, short type, off_t byte)
{
	struct flock l = { .l_type = type, .l_start = byte, .l_len = 1 };

	while (fcntl(fd, cmd, &l) != 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/*
 * LMDB shares memory between processes through its file and so do we with
 * locks: neither holds across hosts.
 */
static int check_file_system(int fd, const char *path)
{
	static const struct {
		uint32_t type;
		const char *name;
	} refused[] = {
		{ 0x00006969, "NFS" },
		{ 0x0000517b, "SMB" },
		{ 0xff534d42, "SMB" },
		{ 0xfe534d42, "SMB" },
		{ 0x01021997, "9P" },
		{ 0x5346414f, "AFS" },
		{ 0x6b414653, "AFS" },
		{ 0x00c36400, "Ceph" },
		{ 0x65735546, "FUSE" },
		{ 0x73757245, "Coda" },
		{ 0x01161970, "GFS2" },
		{ 0x7461636f, "OCFS2" },
		{ 0x0bd00bd0, "Lustre" },
		{ 0x786f4256, "vboxsf" },
	};
	struct statfs fs;

	if (fstatfs(fd, &fs) != 0)
		return fail(errno, "%s: statfs: %m", path);
	for (size_t i = 0; i < N_ELEMS(refused); i++)
		if ((uint32_t)fs.f_type == refused[i].type)
			return fail(EINVAL,
				"%s: is on a network or FUSE file system (%s), "
				"where an embedded repository cannot be kept "
				"safe",
				path, refused[i].name);
	return 0;
}

bool repodir_exists(const char *path)
{
	scoped(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 && faccessat(fd, MARKER, F_OK, 0) == 0;
}

static struct repodir *repodir_new(const char *path)
{
	struct repodir *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->fd = d->segments = d->lock = -1;
	d->path = strdup(path);
	if (asprintf(&d->index, "%s/index", path) < 0)
		d->index = NULL;
	if (!d->path || !d->index) {
		repodir_close(d);
		return NULL;
	}
	return d;
}

void repodir_close(struct repodir *d)
{
	closep(&d->segments);
	closep(&d->lock);
	closep(&d->fd);
	free(d->path);
	free(d->index);
	free(d);
}

static int open_dir(struct repodir *d)
{
	struct stat st;
	struct statvfs vfs;

	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd < 0)
		return -errno;
	if (fstat(d->fd, &st) != 0 || fstatvfs(d->fd, &vfs) != 0)
		return fail(errno, "%s: %m", d->path);
	d->dev = st.st_dev;
	d->ino = st.st_ino;
	d->read_only = vfs.f_flag & ST_RDONLY;
	d->fs_bytes = (uint64_t)vfs.f_blocks * vfs.f_frsize;
	return check_file_system(d->fd, d->path);
}

static int open_lock(struct repodir *d, bool alone)
{
	int r;

	d->lock = openat(d->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d->lock < 0)
		return fail(errno, "%s/lock: %m", d->path);
	r = lock_byte(
		d->lock, F_OFD_SETLK, alone ? F_WRLCK : F_RDLCK, LOCK_OPEN);
	if (r == -EAGAIN || r == -EACCES)
		return fail(EBUSY,
			alone ? "%s: is in use by a mount or verb; end that "
				"first"
			      : "%s: is being repaired by another process",
			d->path);
	if (r < 0)
		return fail(-r, "%s/lock: %m", d->path);
	return 0;
}

/* Nothing is made in a directory that is no repository, not even a lock. */
static int open_alone(struct repodir *d)
{
	int r;

	if (faccessat(d->fd, "segments", F_OK, 0) != 0)
		return marker_read(d->fd, d->path, &d->seal);
	if (d->read_only)
		return fail(
			EROFS, "%s: is on a read-only file system", d->path);
	r = open_lock(d, true);
	if (r == 0)
		r = marker_rebuild(d->fd, d->path);
	return r < 0 ? r : marker_read(d->fd, d->path, &d->seal);
}

static int open_shared(struct repodir *d)
{
	int r = marker_read(d->fd, d->path, &d->seal);

	return r < 0 || d->read_only ? r : open_lock(d, false);
}

int repodir_open(const char *path, bool alone, struct repodir **ret)
{
	scoped(repodir_closep) struct repodir *d = repodir_new(path);
	int r;

	if (!d)
		return fail(ENOMEM, "%s: %m", path);
	r = open_dir(d);
	if (r == -ENOENT || r == -ENOTDIR)
		return fail(ENOMEDIUM,
			"%s: not a hivefs repository (create one with: hivefs "
			"init %s)",
			path, path);
	if (d->fd < 0)
		return fail(-r, "%s: %m", path);
	if (r == 0)
		r = alone ? open_alone(d) : open_shared(d);
	if (r < 0)
		return r;
	d->segments =
		openat(d->fd, "segments", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->segments < 0)
		return fail(errno == ENOENT ? EBADMSG : errno,
			"%s/segments: is missing or cannot be opened", path);
	*ret = take(d);
	return 0;
}

bool repodir_alone(const struct repodir *d)
{
	struct flock l = {
		.l_type = F_WRLCK, .l_start = LOCK_OPEN, .l_len = 1
	};

	return d->lock >= 0 && fcntl(d->lock, F_OFD_GETLK, &l) == 0 &&
	       l.l_type == F_UNLCK;
}

void repodir_index_begin(struct repodir *d)
{
	if (d->lock >= 0 &&
		lock_byte(d->lock, F_OFD_SETLKW, F_WRLCK, LOCK_INDEX) < 0)
		log_warn("%s/lock: %m", d->path);
}

void repodir_index_end(struct repodir *d)
{
	if (d->lock >= 0 &&
		lock_byte(d->lock, F_OFD_SETLK, F_UNLCK, LOCK_INDEX) < 0)
		log_warn("%s/lock: %m", d->path);
}

int repodir_remove_index(const struct repodir *d, const char *name)
{
	static const char *const files[] = { "data.mdb", "lock.mdb" };

	for (size_t i = 0; i < N_ELEMS(files); i++) {
		char path[64];

		snprintf(path, sizeof(path), "%s/%s", name, files[i]);
		if (unlinkat(d->fd, path, 0) != 0 && errno != ENOENT)
			return fail(errno, "%s/%s: %m", d->path, path);
	}
	if (unlinkat(d->fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
		return fail(errno, "%s/%s: %m", d->path, name);
	return 0;
}

bool repodir_reserve_spend(struct repodir *d)
{
	scoped(closep) int fd = openat(d->fd, "reserve", O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0)
		return false;
	if (ftruncate(fd, 0) != 0 || fsync(fd) != 0) {
		log_warn("%s/reserve: %m", d->path);
		return false;
	}
	log_info("%s: using the space kept back for making space", d->path);
	return true;
}

void repodir_reserve_fill(struct repodir *d, bool again)
{
	scoped(closep) int fd = -1;
	uint64_t len = RESERVE_LEN;
	struct statvfs vfs;
	struct stat st;

	fd = openat(d->fd, "reserve", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(fd, &st) != 0 || fstatvfs(d->fd, &vfs) != 0)
		return;
	if ((uint64_t)st.st_size >= len ||
		(!again && vfs.f_bavail < (len + RESERVE_SPARE) / vfs.f_frsize))
		return;
	len = MIN_OF(len, (uint64_t)vfs.f_bavail * vfs.f_frsize);
	while (fallocate(fd, 0, 0, (off_t)len) != 0) {
		if (ftruncate(fd, 0) != 0 || !again || len <= RESERVE_STEP) {
			log_debug("store", "%s/reserve: %m", d->path);
			return;
		}
		len -= RESERVE_STEP;
	}
}

/* What an interrupted creation leaves, and what a new file system begins with.
 */
static bool name_is_ours(const char *name)
{
	static const char *const ours[] = { ".", "..", "lost+found", MARKER_TMP,
		"lock", "index", "segments", "reserve" };

	for (size_t i = 0; i < N_ELEMS(ours); i++)
		if (strcmp(name, ours[i]) == 0)
			return true;
	return false;
}

/* -EEXIST unless the directory holds nothing that could be missed. */
static int check_empty(struct repodir *d)
{
	DIR *dir;
	struct dirent *e;
	int r = 0;

	if (faccessat(d->fd, MARKER, F_OK, 0) == 0)
		return fail(
			EEXIST, "%s: is a hivefs repository already", d->path);
	for (unsigned pass = 0; pass < 2 && r == 0; pass++) {
		int fd = openat(d->fd, pass ? "segments" : ".",
			O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0 && errno == ENOENT)
			continue;
		dir = fd < 0 ? NULL : fdopendir(fd);
		if (!dir) {
			r = fail(errno, "%s: %m", d->path);
			closep(&fd);
			break;
		}
		/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has DIR */
		while ((e = readdir(dir)) && r == 0)
			if (pass ? segment_id(e->d_name) != 0
				 : !name_is_ours(e->d_name))
				r = fail(EEXIST,
					pass ? "%s: holds segments of a "
					       "repository without its "
					       "marker: hivefs repair --index "
					       "makes a new one"
					     : "%s: is not empty; a repository "
					       "needs a directory of its own",
					d->path);
		closedir(dir);
	}
	return r;
}

static int create_inside(struct repodir *d,
	int (*make_index)(const char *dir, const struct uuid *uuid))
{
	scoped(closep) int index = -1;
	int r = check_empty(d);

	if (r < 0)
		return r;
	r = open_lock(d, true);
	if (r < 0)
		return r;
	r = check_empty(d); /* with nobody else at it now */
	if (r == 0)
		r = repodir_remove_index(d, "index");
	if (r < 0)
		return r;
	if (mkdirat(d->fd, "index", 0700) != 0 ||
		(mkdirat(d->fd, "segments", 0700) != 0 && errno != EEXIST))
		return fail(errno, "%s: %m", d->path);
	r = make_index(d->index, &d->seal.uuid);
	if (r == -ENOSPC)
		return fail(ENOSPC, "%s: %m", d->index);
	if (r < 0)
		return r;
	repodir_reserve_fill(d, false);
	d->segments =
		openat(d->fd, "segments", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	index = openat(d->fd, "index", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* what is in segments is synced with the first name there */
	if (d->segments < 0 || index < 0 || fsync(index) != 0 ||
		fsync(d->fd) != 0)
		return fail(errno, "%s: %m", d->path);
	return marker_write(d->fd, d->path, &d->seal);
}

/* Makes the name of a new directory durable. */
static int sync_parent(const char *path)
{
	scoped(freep) char *up = NULL;
	scoped(closep) int fd = -1;

	if (asprintf(&up, "%s/..", path) < 0)
		return fail(ENOMEM, "%s: %m", path);
	fd = open(up, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		return fail(errno, "%s: %m", up);
	return 0;
}

int repodir_create(const char *path, const struct uuid *uuid,
	int (*make_index)(const char *dir, const struct uuid *uuid))
{
	scoped(repodir_closep) struct repodir *d = repodir_new(path);
	bool made = mkdir(path, 0700) == 0;
	int r;

	if (!made && errno != EEXIST)
		return fail(errno, "%s: %m", path);
	if (!d)
		return fail(ENOMEM, "%s: %m", path);
	d->seal.uuid = *uuid;
	d->seal.salt = random_u64();
	r = open_dir(d);
	if (r == -ENOTDIR)
		return fail(EEXIST, "%s: is not a directory", path);
	if (d->fd < 0)
		return fail(-r, "%s: %m", path);
	if (r == 0)
		r = create_inside(d, make_index);
	if (r == 0)
		r = sync_parent(path);
	if (r < 0 && made)
		rmdir(path); /* fails unless nothing was put there */
	return r;
}

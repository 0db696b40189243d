/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/store_embedded.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "repo/embedded.h"
#include "repo/index_agree.h"
#include "repo/store_change.h"
#include "repo/store_compact.h"
#include "repo/store_gone.h"
#include "repo/store_read.h"
#include "repo/store_walk.h"
#include "repo/store_write.h"
#include "repo/stream_embedded.h"
#include "src/log.h"

/* Those open in this process. */
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct embedded *registry; /* registry_lock */

int embedded_writable(const struct handle *h)
{
	if (h->flags & STORE_READ_ONLY)
		return fail(
			EROFS, "%s: is open for reading only", h->e->dir->path);
	return 0;
}

int embedded_changeable(const struct handle *h)
{
	int r = embedded_writable(h);

	return r < 0 ? r : index_agree(h->e->index);
}

bool embedded_again(struct handle *h, int r)
{
	if (r != -ENOSPC)
		return false;
	if (h->flags & STORE_SPEND_RESERVE &&
		repodir_reserve_spend(h->e->dir)) {
		h->spent = true;
		return true;
	}
	fail(ENOSPC,
		"%s: %m; prune points and run hivefs gc, or make the file "
		"system larger",
		h->e->dir->path);
	return false;
}

int embedded_create(const char *path, const struct uuid *uuid)
{
	return repodir_create(path, uuid, index_create);
}

bool embedded_exists(const char *path)
{
	return repodir_exists(path);
}

static void embedded_free(struct embedded *e)
{
	if (e->slots)
		slots_free(e->slots);
	if (e->segs)
		segset_free(e->segs);
	closep(&e->journal_fd);
	if (e->index) {
		repodir_index_begin(e->dir);
		index_close(e->index);
		repodir_index_end(e->dir);
	}
	if (e->dir)
		repodir_close(e->dir);
	free(e);
}
DEFINE_CLEANUP(struct embedded *, embedded_free);

static int open_index(struct embedded *e)
{
	unsigned flags = 0;
	int r;

	if (faccessat(e->dir->fd, "index/data.mdb", F_OK, 0) != 0 &&
		errno == ENOENT)
		return fail(EBADMSG,
			"%s: the index is missing (rebuild it with: hivefs "
			"repair --index)",
			e->dir->path);
	if (e->dir->read_only)
		flags = INDEX_READ_ONLY | INDEX_NO_LOCK;
	repodir_index_begin(e->dir);
	r = index_open(e->dir->index, &e->dir->seal.uuid, flags, &e->index);
	repodir_index_end(e->dir);
	return r;
}

/* Takes the directory. */
static int embedded_new(struct repodir *dir, struct embedded **ret)
{
	scoped(embedded_freep) struct embedded *e = calloc(1, sizeof(*e));
	int r;

	if (!e) {
		repodir_close(dir);
		return fail(ENOMEM, "store: %m");
	}
	e->dir = dir;
	e->journal_fd = -1;
	r = open_index(e);
	if (r == 0)
		r = segset_new(dir->path, dir->segments, &dir->seal, &e->segs);
	if (r == 0)
		r = slots_new(dir, e->index, &e->slots);
	if (r == 0)
		*ret = take(e);
	return r;
}

/* Registry's lock held. */
static int embedded_share(const char *path, struct embedded **ret)
{
	struct embedded *e = NULL;
	struct repodir *dir;
	struct stat st;
	int r;

	if (stat(path, &st) == 0)
		for (e = registry; e; e = e->next)
			if (e->dir->dev == st.st_dev &&
				e->dir->ino == st.st_ino) {
				e->users++;
				*ret = e;
				return 0;
			}
	r = repodir_open(path, false, &dir);
	if (r < 0)
		return r;
	r = embedded_new(dir, &e);
	if (r < 0 || !e)
		return r;
	e->users = 1;
	e->next = registry;
	registry = e;
	*ret = e;
	return 0;
}

static void embedded_unshare(struct embedded *e)
{
	pthread_mutex_lock(&registry_lock);
	if (--e->users == 0) {
		struct embedded **p = &registry;

		while (*p != e)
			p = &(*p)->next;
		*p = e->next;
		embedded_free(e);
	}
	pthread_mutex_unlock(&registry_lock);
}

static void embedded_close(struct store *s)
{
	struct handle *h = handle_of(s);

	/* else a backup takes it, and the next rm has none */
	if (h->spent)
		repodir_reserve_fill(h->e->dir, true);
	embedded_unshare(h->e);
	free(h);
}

static int embedded_sync(struct store *s)
{
	struct handle *h = handle_of(s);
	int r;

	do
		r = index_sync(h->e->index);
	while (embedded_again(h, r));
	return r;
}

static int embedded_count(struct store *s, enum coll c, struct store_count *ret)
{
	struct index_txn t;
	int r = index_read(handle_of(s)->e->index, &t);

	if (r < 0)
		return r;
	r = index_count(&t, c, ret);
	index_read_end(&t);
	return r;
}

/* What the files in the directory FD, which is taken, occupy. */
static uint64_t directory_bytes(int fd)
{
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	uint64_t bytes = 0;
	struct dirent *d;
	struct stat st;

	if (!dir) {
		closep(&fd);
		return 0;
	}
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has DIR */
	while ((d = readdir(dir)))
		if (fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) ==
				0 &&
			S_ISREG(st.st_mode))
			bytes += (uint64_t)st.st_blocks * 512;
	closedir(dir);
	return bytes;
}

/* What the streams' files occupy. */
static uint64_t streams_bytes(int repo)
{
	int fd = openat(repo, "streams", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	uint64_t bytes = 0;
	struct dirent *d;

	if (!dir) {
		closep(&fd);
		return 0;
	}
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has DIR */
	while ((d = readdir(dir)))
		if (d->d_name[0] != '.')
			bytes += directory_bytes(openat(dirfd(dir), d->d_name,
				O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	closedir(dir);
	return bytes;
}

static int embedded_info(struct store *s, struct store_info *ret)
{
	struct embedded *e = handle_of(s)->e;
	static const char *const dirs[] = { ".", "segments", "index" };
	struct store_info info = { .kind = "embedded",
		.read_only = e->dir->read_only };
	struct segment_rows rows = { 0 };
	struct statvfs vfs;
	int r;

	if (fstatvfs(e->dir->fd, &vfs) != 0)
		return fail(errno, "%s: %m", e->dir->path);
	info.bytes_free = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	for (unsigned i = 0; i < 3; i++)
		info.bytes += directory_bytes(openat(e->dir->fd, dirs[i],
			O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	info.bytes += streams_bytes(e->dir->fd);
	r = index_list_rows(e->index, &rows);
	for (size_t i = 0; r == 0 && i < rows.n; i++) {
		uint64_t used = rows.v[i].committed;

		if (used == 0)
			continue;
		info.n_segments++;
		if (used > SEGMENT_HEADER + rows.v[i].live)
			info.bytes_dead +=
				used - SEGMENT_HEADER - rows.v[i].live;
	}
	vec_fini(&rows);
	if (r == 0)
		*ret = info;
	return r;
}

static bool embedded_alone(struct store *s)
{
	return repodir_alone(handle_of(s)->e->dir);
}

static void embedded_tidy(struct store *s)
{
	segset_tidy(handle_of(s)->e->segs);
}

static const struct store_ops ops = {
	.close = embedded_close,
	.get_many = embedded_get_many,
	.head_many = embedded_head_many,
	.exists_many = embedded_exists_many,
	.insert_many = embedded_insert_many,
	.insert = embedded_insert,
	.replace = embedded_replace,
	.remove = embedded_remove,
	.change_many = embedded_change_many,
	.scan = embedded_scan,
	.walk = embedded_walk,
	.gone = embedded_gone,
	.sync = embedded_sync,
	.alone = embedded_alone,
	.tidy = embedded_tidy,
	.compact = embedded_compact,
	.count = embedded_count,
	.estimate = embedded_count,
	.info = embedded_info,
	.stream_open = embedded_stream_open,
	.stream_peek = embedded_stream_peek,
	.stream_owner = embedded_stream_owner,
	.stream_remove = embedded_stream_remove,
	.stream_list = embedded_stream_list,
};

int embedded_open(const char *path, unsigned flags, struct store **ret)
{
	struct handle *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return fail(ENOMEM, "%s: %m", path);
	pthread_mutex_lock(&registry_lock);
	r = embedded_share(path, &h->e);
	pthread_mutex_unlock(&registry_lock);
	if (r < 0) {
		free(h);
		return r;
	}
	assert(h->e);
	h->base.ops = &ops;
	h->base.uuid = h->e->dir->seal.uuid;
	h->flags = flags;
	if (h->e->dir->read_only && !(flags & STORE_READ_ONLY)) {
		embedded_close(&h->base);
		return fail(EROFS,
			"%s: is on a read-only file system; it can be opened "
			"for reading only",
			path);
	}
	if (!(flags & (STORE_READ_ONLY | STORE_SPEND_RESERVE)))
		repodir_reserve_fill(h->e->dir, false);
	*ret = &h->base;
	return 0;
}

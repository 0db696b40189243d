/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/stream_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "src/log.h"
#include "src/text.h"

#define STREAMS "streams"
#define OWNER "owner"
#define NEXT "next.tmp"

static int open_dir(int at, const char *name, bool create, int *ret)
{
	int fd;

	if (create && mkdirat(at, name, 0700) != 0 && errno != EEXIST)
		return -errno;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret = fd;
	return 0;
}

int stream_dir_open(const struct repodir *repo, const struct uuid *id,
	bool create, struct stream_dir *ret)
{
	struct stream_dir d = { .fd = -1, .id = *id, .salt = repo->seal.salt };
	scoped(closep) int streams = -1;
	char hex[33];
	int r;

	hex_encode(id->b, sizeof(id->b), hex);
	if (asprintf(&d.path, "%s/" STREAMS "/%s", repo->path, hex) < 0)
		return fail(ENOMEM, "%s: %m", repo->path);
	r = open_dir(repo->fd, STREAMS, create, &streams);
	if (r == 0)
		r = open_dir(streams, hex, create, &d.fd);
	if (r == 0) {
		*ret = d;
		return 0;
	}
	if (r != -ENOENT || create)
		fail(-r, "%s: %m", d.path);
	stream_dir_fini(&d);
	return r;
}

/* The id that a directory is named after; false if it is not one of ours. */
static bool parse_name(const char *name, struct uuid *ret)
{
	char again[33];

	if (strlen(name) != 32)
		return false;
	for (unsigned i = 0; i < 16; i++) {
		unsigned byte;

		/* NOLINTNEXTLINE(cert-err34-c): compared below */
		if (sscanf(name + 2 * i, "%2x", &byte) != 1)
			return false;
		ret->b[i] = (uint8_t)byte;
	}
	return strcmp(hex_encode(ret->b, sizeof(ret->b), again), name) == 0;
}

int stream_dirs_list(const struct repodir *repo,
	int (*visit)(void *arg, const struct uuid *id), void *arg)
{
	struct dirent *e;
	int fd = -1;
	int r = open_dir(repo->fd, STREAMS, false, &fd);
	DIR *dir = r == 0 ? fdopendir(fd) : NULL;

	if (r == -ENOENT)
		return 0;
	if (!dir) {
		r = fail(errno, "%s/" STREAMS ": %m", repo->path);
		closep(&fd);
		return r;
	}
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has DIR */
	while (r == 0 && (errno = 0, e = readdir(dir))) {
		struct uuid id;

		if (parse_name(e->d_name, &id))
			r = visit(arg, &id);
	}
	if (r == 0 && errno != 0)
		r = fail(errno, "%s/" STREAMS ": %m", repo->path);
	closedir(dir);
	return r;
}

void stream_dir_fini(struct stream_dir *d)
{
	closep(&d->fd);
	d->fd = -1;
	free(d->path);
	d->path = NULL;
}

int stream_dir_sync_name(const struct repodir *repo, const struct stream_dir *d)
{
	scoped(closep) int streams = -1;
	int r = open_dir(repo->fd, STREAMS, false, &streams);

	if (r == 0 && (fsync(streams) != 0 || fsync(repo->fd) != 0))
		r = -errno;
	return r < 0 ? fail(-r, "%s: %m", d->path) : 0;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

int stream_dir_list(const struct stream_dir *d, struct stream_numbers *ret)
{
	int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct stream_numbers list = { 0 };
	struct dirent *e;
	int r = 0;

	if (!dir) {
		r = errno;
		closep(&fd);
		return fail(r, "%s: %m", d->path);
	}
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has DIR */
	while (r == 0 && (errno = 0, e = readdir(dir))) {
		uint32_t number = stream_file_number(e->d_name);

		if (number)
			r = vec_add(&list, number);
	}
	if (r == 0)
		r = -errno;
	closedir(dir);
	if (r < 0) {
		vec_fini(&list);
		return fail(-r, "%s: %m", d->path);
	}
	if (list.n)
		qsort(list.v, list.n, sizeof(*list.v), by_number);
	*ret = list;
	return 0;
}

int stream_dir_open_file(
	const struct stream_dir *d, uint32_t number, int flags, int *ret_fd)
{
	char name[STREAM_FILE_NAME];
	int fd = openat(d->fd, stream_file_name(number, name),
		flags | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0)
		return fail(errno, "%s/%s: %m", d->path, name);
	*ret_fd = fd;
	return 0;
}

int stream_dir_read_header(const struct stream_dir *d, uint32_t number, int fd,
	uint64_t *ret_first)
{
	uint8_t b[STREAM_FILE_HEADER];
	char name[STREAM_FILE_NAME];
	ssize_t n = pread(fd, b, sizeof(b), 0);
	int r;

	stream_file_name(number, name);
	if (n < 0)
		return fail(errno, "%s/%s: read: %m", d->path, name);
	/* it has its name only once its header is durable */
	r = n < (ssize_t)sizeof(b)
		    ? -EBADMSG
		    : stream_header_decode(&d->id, number, b, ret_first);
	if (r == -EPROTONOSUPPORT)
		return fail(
			-r, "%s/%s: it needs a newer hivefs", d->path, name);
	if (r < 0)
		return fail(-r, "%s/%s: offset 0: the header is damaged",
			d->path, name);
	return 0;
}

int stream_dir_add_file(const struct stream_dir *d, uint32_t number,
	uint64_t first, bool *ret_there, int *ret_fd)
{
	uint8_t b[STREAM_FILE_HEADER];
	char name[STREAM_FILE_NAME];
	scoped(closep) int fd = -1;
	ssize_t n = -1;

	*ret_there = false;
	stream_file_name(number, name);
	stream_header_encode(&d->id, number, first, b);
	fd = openat(d->fd, NEXT,
		O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		n = pwrite(fd, b, sizeof(b), 0);
	if (n >= 0 && n < (ssize_t)sizeof(b))
		errno = ENOSPC;
	if (n == (ssize_t)sizeof(b) && fsync(fd) == 0)
		*ret_there = renameat(d->fd, NEXT, d->fd, name) == 0;
	if (*ret_there && fsync(d->fd) == 0) {
		*ret_fd = take_fd(fd);
		return 0;
	}
	if (errno == ENOSPC || errno == EDQUOT)
		return -ENOSPC;
	return fail(errno, "%s/%s: %m", d->path, name);
}

int stream_dir_remove_file(const struct stream_dir *d, uint32_t number)
{
	char name[STREAM_FILE_NAME];

	if (unlinkat(d->fd, stream_file_name(number, name), 0) != 0 &&
		errno != ENOENT)
		return fail(errno, "%s/%s: %m", d->path, name);
	return 0;
}

static int lock_owner(int fd, int cmd, struct flock *l)
{
	*l = (struct flock){ .l_type = F_WRLCK };
	while (fcntl(fd, cmd, l) != 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

static void owner_read(int fd, struct stream_owner *ret)
{
	char text[STREAM_OWNER_TEXT + 1];
	ssize_t n = pread(fd, text, STREAM_OWNER_TEXT, 0);

	text[n < 0 ? 0 : n] = '\0';
	if (stream_owner_parse(text, ret) < 0)
		ret->host[0] = '\0'; /* it has the lock, but did not say yet */
}

static int busy(const struct stream_dir *d, int fd)
{
	struct stream_owner o;

	owner_read(fd, &o);
	if (o.host[0] == '\0')
		return fail(EBUSY, "%s: is in use by another process", d->path);
	return fail(EBUSY, "%s: is in use by %s, process %" PRId64 ", %s",
		d->path, o.host, o.pid, o.place);
}

/* For people, and only while the lock is held: not worth failing for. */
static void owner_write(
	const struct stream_dir *d, int fd, const struct stream_owner *owner)
{
	char text[STREAM_OWNER_TEXT];
	size_t len = owner ? stream_owner_write(owner, text) : 0;

	if (ftruncate(fd, 0) != 0 ||
		(len && pwrite(fd, text, len, 0) != (ssize_t)len))
		log_debug("stream", "%s/" OWNER ": %m", d->path);
}

int stream_dir_lock(const struct stream_dir *d,
	const struct stream_owner *owner, int *ret_fd)
{
	scoped(closep) int fd = -1;
	struct flock l;
	struct stat st;
	int r;

	fd = openat(
		d->fd, OWNER, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 && errno == ENOENT)
		return -EAGAIN;
	if (fd < 0)
		return fail(errno, "%s/" OWNER ": %m", d->path);
	r = lock_owner(fd, F_OFD_SETLK, &l);
	if (r == -EAGAIN || r == -EACCES)
		return busy(d, fd);
	if (r < 0 || fstat(fd, &st) != 0)
		return fail(errno, "%s/" OWNER ": %m", d->path);
	/* removed between our open and our lock, and others have another */
	if (st.st_nlink == 0)
		return -EAGAIN;
	owner_write(d, fd, owner);
	*ret_fd = take_fd(fd);
	return 0;
}

void stream_dir_unlock(int fd)
{
	if (ftruncate(fd, 0) != 0)
		log_debug("stream", "owner: %m");
	close(fd);
}

int stream_dir_owner(const struct stream_dir *d, struct stream_owner *ret)
{
	scoped(closep) int fd = -1;
	struct flock l;
	int r;

	fd = openat(d->fd, OWNER, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0)
		return fail(errno, "%s/" OWNER ": %m", d->path);
	r = lock_owner(fd, F_OFD_GETLK, &l);
	if (r < 0)
		return fail(-r, "%s/" OWNER ": %m", d->path);
	if (l.l_type == F_UNLCK)
		return -ENOENT;
	owner_read(fd, ret);
	return 0;
}

int stream_dir_remove(
	const struct repodir *repo, struct stream_dir *d, int lock)
{
	scoped(closep) int streams = -1;
	struct stream_numbers list = { 0 };
	char hex[33];
	int r = stream_dir_list(d, &list);

	for (size_t i = 0; r == 0 && i < list.n; i++)
		r = stream_dir_remove_file(d, list.v[i]);
	vec_fini(&list);
	if (r == 0)
		r = open_dir(repo->fd, STREAMS, false, &streams);
	hex_encode(d->id.b, sizeof(d->id.b), hex);
	if (r == 0 && ((unlinkat(d->fd, NEXT, 0) != 0 && errno != ENOENT) ||
			      unlinkat(d->fd, OWNER, 0) != 0))
		r = fail(errno, "%s: %m", d->path);
	/* not empty: it has been made anew */
	if (r == 0 && ((unlinkat(streams, hex, AT_REMOVEDIR) != 0 &&
			       errno != ENOTEMPTY && errno != EEXIST) ||
			      fsync(streams) != 0))
		r = fail(errno, "%s: %m", d->path);
	close(lock);
	return r;
}

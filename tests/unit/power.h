/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power - power cuts for what lies below one directory, or a whole repository:
 * calls that change it, LMDB's too, are recorded, not synced, and power_cut()
 * makes it what a disk could hold if power had failed after the first K of
 * them. What was synced by then is there; of the rest each 512-byte sector,
 * each truncation and each name may be or not. From the call numbered
 * power.die_at on, all of them fail and do nothing: as if the process had been
 * killed, but for memory, which it still has to free.
 *
 * Include once in a program: it defines the calls. Any thread.
 */
#ifndef HIVEFS_TEST_POWER_H
#define HIVEFS_TEST_POWER_H

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "src/bytes.h"
#include "src/vec.h"

#define SECTOR 512
#define POWER_FDS 256

struct power_obj;
struct power_name {
	char name[40];
	struct power_obj *obj;
};
struct power_names vec(struct power_name);
struct power_data vec(uint8_t);

struct power_obj {
	bool dir;
	struct power_data data;          /* at the beginning */
	struct power_names names, begin; /* now, at the beginning */
};

struct power_op {
	enum { POWER_WRITE, POWER_TRUNCATE, POWER_SYNC, POWER_NAME } kind;
	struct power_obj *obj;
	uint64_t off;
	struct power_data data;
	/* name is that of child, and no longer anything else; was is gone */
	char name[40], was[40];
	struct power_obj *child;
	bool lasts; /* written with O_DSYNC */
};

static struct {
	bool on;
	char top[700], name[40]; /* below TOP, only NAME; "": all */
	struct power_obj *root;
	struct vec(struct power_obj *) objs;
	struct vec(struct power_op) log;
	struct power_obj *of_fd[POWER_FDS];
	bool dsync[POWER_FDS];
	size_t die_at;
	uint64_t seed;
	unsigned odds; /* of what was not synced, in 8 */
	pthread_mutex_t turn;
} power = { .turn = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP };

/* What is in a library calls it, too, by its name or by an older one. */
#define POWER_CALL __attribute__((visibility("default")))

static bool power_enter(void)
{
	pthread_mutex_lock(&power.turn);
	return true;
}

static void power_leave(const bool *in)
{
	(void)in;
	pthread_mutex_unlock(&power.turn);
}

#define POWER_TURN                                                             \
	__attribute__((cleanup(power_leave), unused)) bool power_in =          \
		power_enter()

static uint64_t power_random(uint64_t below)
{
	power.seed ^= power.seed << 13;
	power.seed ^= power.seed >> 7;
	power.seed ^= power.seed << 17;
	return power.seed % below;
}

static void power_must(bool ok)
{
	if (!ok)
		abort();
}

static struct power_obj *power_new(bool dir)
{
	struct power_obj *o = calloc(1, sizeof(*o));

	power_must(o && vec_add(&power.objs, o) == 0);
	o->dir = dir;
	return o;
}

static struct power_obj *power_find(
	const struct power_names *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++)
		if (strcmp(names->v[i].name, name) == 0)
			return names->v[i].obj;
	return NULL;
}

/* OBJ NULL: no longer */
static void power_set(
	struct power_names *names, const char *name, struct power_obj *obj)
{
	struct power_name n = { .obj = obj };

	for (size_t i = 0; i < names->n; i++)
		if (strcmp(names->v[i].name, name) == 0)
			names->v[i--] = names->v[--names->n];
	strncpy(n.name, name, sizeof(n.name) - 1);
	if (obj)
		power_must(vec_add(names, n) == 0);
}

static struct power_op *power_op(int kind, struct power_obj *o)
{
	struct power_op op = { .kind = kind, .obj = o };

	power_must(vec_add(&power.log, op) == 0);
	return &power.log.v[power.log.n - 1];
}

static void power_named(struct power_obj *dir, const char *name,
	const char *was, struct power_obj *child)
{
	struct power_op *op = power_op(POWER_NAME, dir);

	op->child = child;
	strncpy(op->name, name, sizeof(op->name) - 1);
	strncpy(op->was, was, sizeof(op->was) - 1);
	power_set(&dir->names, was, NULL);
	power_set(&dir->names, name, child);
}

/* The object whose change is to be recorded. */
static bool power_dead(const struct power_obj *o)
{
	if (!o || power.log.n < power.die_at)
		return false;
	errno = EIO;
	return true;
}

static struct power_obj *power_at(int fd, const char *name)
{
	if (!power.on || fd < 0 || fd >= POWER_FDS)
		return NULL;
	if (name && strcmp(name, power.name) == 0)
		power.of_fd[fd] = power.root;
	return power.of_fd[fd];
}

/* From DIR on along all of PATH but its last name. */
static struct power_obj *power_walk(struct power_obj *dir, const char **path)
{
	const char *slash;

	while (dir && (slash = strchr(*path, '/'))) {
		char name[40] = "";

		power_must(slash - *path < (ssize_t)sizeof(name));
		memcpy(name, *path, (size_t)(slash - *path));
		dir = *name ? power_find(&dir->names, name) : dir;
		*path = slash + 1;
	}
	return dir;
}

POWER_CALL int openat(int at, const char *path, int flags, ...)
{
	POWER_TURN;
	size_t top = strlen(power.top);
	struct power_obj *dir, *o = NULL;
	const char *name = path;
	int fd;

	if (!power.on || *path != '/')
		dir = power_walk(power_at(at, path), &name);
	else if (!*power.name && strncmp(path, power.top, top) == 0 &&
		 (!path[top] || path[top] == '/'))
		dir = power_walk(power.root,
			(name = path[top] ? path + top + 1 : ".", &name));
	else
		dir = NULL;
	if (flags & (O_CREAT | O_TRUNC) && power_dead(dir))
		return -1;
	fd = (int)syscall(SYS_openat, at, path, flags, 0600);

	if (dir && fd >= 0) {
		o = strcmp(name, ".") == 0 ? dir
					   : power_find(&dir->names, name);
		if (!o && flags & O_CREAT) {
			o = power_new(false);
			power_named(dir, name, "", o);
		} else if (flags & O_TRUNC) {
			power_op(POWER_TRUNCATE, o);
		}
	}
	if (fd >= 0 && fd < POWER_FDS) {
		power.of_fd[fd] = o;
		power.dsync[fd] = flags & O_DSYNC;
	}
	return fd;
}

POWER_CALL int open(const char *path, int flags, ...)
{
	return openat(AT_FDCWD, path, flags, 0600);
}

POWER_CALL int power_old_open(const char *path, int flags, ...) __asm__("open");
POWER_CALL int power_old_open(const char *path, int flags, ...)
{
	return openat(AT_FDCWD, path, flags, 0600);
}

POWER_CALL int mkdirat(int at, const char *name, mode_t mode)
{
	POWER_TURN;
	struct power_obj *dir = power_at(at, name);
	int r;

	if (power_dead(dir))
		return -1;
	r = (int)syscall(SYS_mkdirat, at, name, mode);

	if (dir && r == 0)
		power_named(dir, name, "", power_new(true));
	return r;
}

POWER_CALL int renameat(int from, const char *a, int to, const char *b)
{
	POWER_TURN;
	struct power_obj *dir = power_at(from, NULL);
	int r;

	if (power_dead(dir))
		return -1;
	r = (int)syscall(SYS_renameat, from, a, to, b);

	if (dir && r == 0)
		power_named(dir, b, a, power_find(&dir->names, a));
	return r;
}

POWER_CALL int unlinkat(int at, const char *name, int flags)
{
	POWER_TURN;
	struct power_obj *dir = power_at(at, name);
	int r;

	if (power_dead(dir))
		return -1;
	r = (int)syscall(SYS_unlinkat, at, name, flags);

	if (dir && r == 0)
		power_named(dir, "", name, NULL);
	return r;
}

POWER_CALL int ftruncate(int fd, off_t len)
{
	POWER_TURN;
	struct power_obj *o = power_at(fd, NULL);

	if (power_dead(o))
		return -1;
	if (o)
		power_op(POWER_TRUNCATE, o)->off = (uint64_t)len;
	return (int)syscall(SYS_ftruncate, fd, len);
}

static int power_sync(int call, int fd)
{
	POWER_TURN;
	struct power_obj *o = power_at(fd, NULL);

	if (!o)
		return (int)syscall(call, fd);
	if (power_dead(o))
		return -1;
	power_op(POWER_SYNC, o);
	return 0;
}

POWER_CALL int power_old_ftruncate(int fd, off_t len) __asm__("ftruncate");
POWER_CALL int power_old_ftruncate(int fd, off_t len)
{
	return ftruncate(fd, len);
}

POWER_CALL int fsync(int fd)
{
	return power_sync(SYS_fsync, fd);
}

POWER_CALL int fdatasync(int fd)
{
	return power_sync(SYS_fdatasync, fd);
}

POWER_CALL ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	POWER_TURN;
	struct power_obj *o = power_at(fd, NULL);
	struct power_op *op;

	if (power_dead(o))
		return -1;
	op = o ? power_op(POWER_WRITE, o) : NULL;
	if (op)
		op->lasts = power.dsync[fd];
	for (int i = 0; op && i < n; i++) {
		size_t len = iov[i].iov_len;

		power_must(vec_reserve(&op->data, len) == 0);
		memcpy(op->data.v + op->data.n, iov[i].iov_base, len);
		op->data.n += len;
	}
	if (op)
		op->off = (uint64_t)off;
	return syscall(SYS_pwritev, fd, iov, n, off, 0);
}

POWER_CALL ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
	struct iovec iov = { (void *)(uintptr_t)buf, len };

	return pwritev(fd, &iov, 1, off);
}

POWER_CALL ssize_t power_old_pwrite(
	int fd, const void *buf, size_t len, off_t off) __asm__("pwrite");
POWER_CALL ssize_t power_old_pwrite(
	int fd, const void *buf, size_t len, off_t off)
{
	return pwrite(fd, buf, len, off);
}

/* LMDB's way to write several pages. */
POWER_CALL ssize_t writev(int fd, const struct iovec *iov, int n)
{
	POWER_TURN;
	off_t off;
	ssize_t done;

	if (!power_at(fd, NULL))
		return syscall(SYS_writev, fd, iov, n);
	off = lseek(fd, 0, SEEK_CUR);
	power_must(off >= 0);
	done = pwritev(fd, iov, n, off);
	if (done > 0)
		power_must(lseek(fd, done, SEEK_CUR) >= 0);
	return done;
}

static void power_load(struct power_obj *o, const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;

	power_must(dir != NULL);
	while ((e = readdir(dir))) {
		char sub[1000];
		struct power_obj *child;
		struct stat st;
		int fd;

		snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name);
		if (e->d_name[0] == '.' || stat(sub, &st) != 0 ||
			(o == power.root && *power.name &&
				strcmp(e->d_name, power.name) != 0))
			continue;
		child = power_new(S_ISDIR(st.st_mode));
		power_set(&o->begin, e->d_name, child);
		power_set(&o->names, e->d_name, child);
		if (child->dir) {
			power_load(child, sub);
			continue;
		}
		fd = open(sub, O_RDONLY);
		child->data.n = (size_t)st.st_size;
		power_must(
			fd >= 0 && vec_reserve(&child->data, 1) == 0 &&
			read(fd, child->data.v, child->data.n) == st.st_size);
		close(fd);
	}
	closedir(dir);
}

/* Records from here on; what there is below TOP/NAME is on the disk. NAME "":
 * TOP is a repository that nobody has open. */
static void power_begin(const char *top, const char *name)
{
	snprintf(power.top, sizeof(power.top), "%s", top);
	snprintf(power.name, sizeof(power.name), "%s", name);
	power.root = power_new(true);
	power_load(power.root, top);
	power.die_at = SIZE_MAX;
	power.on = true;
}

static bool power_lucky(bool synced)
{
	return synced || power_random(8) < power.odds;
}

static void power_resize(struct power_data *d, size_t len)
{
	if (len > d->n)
		power_must(vec_reserve(d, len - d->n) == 0);
	if (len > d->n)
		memset(d->v + d->n, 0, len - d->n);
	d->n = len;
}

static void power_apply(struct power_data *d, struct power_names *names,
	const struct power_op *op, bool synced)
{
	uint64_t end = op->off + op->data.n, next;

	if (op->kind == POWER_TRUNCATE && power_lucky(synced))
		power_resize(d, op->off);
	if (op->kind == POWER_NAME && power_lucky(synced)) {
		power_set(names, op->was, NULL);
		power_set(names, op->name, op->child);
	}
	if (op->kind != POWER_WRITE)
		return;
	for (uint64_t at = op->off; at < end; at = next) {
		next = MIN_OF(round_down(at, SECTOR) + SECTOR, end);
		if (!power_lucky(synced))
			continue;
		if (d->n < next)
			power_resize(d, next);
		memcpy(d->v + at, op->data.v + (at - op->off), next - at);
	}
}

/* O as it is on the disk after the first K calls, at PATH. */
static void power_write(struct power_obj *o, const char *path, size_t k)
{
	struct power_data d = { 0 };
	struct power_names names = { 0 };
	size_t synced = 0;
	char sub[1000];
	int fd;

	power_resize(&d, o->data.n);
	if (d.n)
		memcpy(d.v, o->data.v, d.n);
	for (size_t i = 0; i < o->begin.n; i++)
		power_set(&names, o->begin.v[i].name, o->begin.v[i].obj);
	for (size_t i = 0; i < k; i++)
		if (power.log.v[i].obj == o &&
			power.log.v[i].kind == POWER_SYNC)
			synced = i;
	for (size_t i = 0; i < k; i++)
		if (power.log.v[i].obj == o)
			power_apply(&d, &names, &power.log.v[i],
				i < synced || power.log.v[i].lasts);
	if (!o->dir) {
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
		power_must(fd >= 0 && write(fd, d.v, d.n) == (ssize_t)d.n);
		close(fd);
	} else if (o != power.root) {
		power_must(mkdir(path, 0700) == 0);
	}
	for (size_t i = 0; i < names.n; i++) {
		snprintf(sub, sizeof(sub), "%s/%s", path, names.v[i].name);
		power_write(names.v[i].obj, sub, k);
	}
	vec_fini(&d);
	vec_fini(&names);
}

static void power_end(void)
{
	power.on = false;
	memset(power.of_fd, 0, sizeof(power.of_fd));
	for (size_t i = 0; i < power.objs.n; i++) {
		vec_fini(&power.objs.v[i]->data);
		vec_fini(&power.objs.v[i]->names);
		vec_fini(&power.objs.v[i]->begin);
		free(power.objs.v[i]);
	}
	for (size_t i = 0; i < power.log.n; i++)
		vec_fini(&power.log.v[i].data);
	vec_fini(&power.objs);
	vec_fini(&power.log);
}

/* Nobody has anything open below. */
static void power_cut(size_t k)
{
	char command[1000];

	power.on = false;
	snprintf(command, sizeof(command), "rm -rf '%s/%s'%s", power.top,
		power.name, *power.name ? "" : "* ");
	power_must(system(command) == 0);
	power_write(power.root, power.top, k);
	power_end();
}

#endif

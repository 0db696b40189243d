/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/foreign.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/bytes.h"

#define FILE_COST 512u /* beside its bytes */

struct foreign {
	struct foreigns *all;
	struct foreign *next; /* foreigns->lock, as all that follows */
	uint64_t number;      /* immutable */
	bool is_dir;          /* immutable */
	mode_t mode;
	struct foreign_dir dir;
	char *name;
	bool linked; /* in the list, which has a reference */
	unsigned n_refs;
	struct timespec changed;
	uint8_t *data;
	size_t len, cap;
};

void foreigns_init(struct foreigns *all)
{
	*all = (struct foreigns){ .next_number = 1 };
	pthread_mutex_init(&all->lock, NULL);
}

void foreigns_fini(struct foreigns *all)
{
	while (all->first) {
		struct foreign *f = all->first;

		assert(f->n_refs == 1);
		all->first = f->next;
		free(f->name);
		free(f->data);
		free(f);
	}
	pthread_mutex_destroy(&all->lock);
}

/* Lock held, from here on but where it says otherwise. */
static bool is_in(const struct foreign *f, const struct foreign_dir *dir)
{
	return f->dir.in == dir->in &&
	       memcmp(&f->dir.clone, &dir->clone, sizeof(dir->clone)) == 0;
}

static struct foreign *find(const struct foreigns *all,
	const struct foreign_dir *dir, const char *name)
{
	struct foreign *f = all->first;

	while (f && !(is_in(f, dir) && strcmp(f->name, name) == 0))
		f = f->next;
	return f;
}

static void put(struct foreign *f)
{
	if (--f->n_refs)
		return;
	f->all->cost -= FILE_COST + f->cap;
	free(f->name);
	free(f->data);
	free(f);
}

static void touch(struct foreign *f)
{
	clock_gettime(CLOCK_REALTIME, &f->changed);
}

static void unlink_it(struct foreigns *all, struct foreign *f)
{
	struct foreign **p = &all->first;

	while (*p != f)
		p = &(*p)->next;
	*p = f->next;
	f->linked = false;
	put(f);
}

static bool has_any(const struct foreigns *all, const struct foreign *dir)
{
	for (const struct foreign *f = all->first; f; f = f->next)
		if (f->dir.in == dir)
			return true;
	return false;
}

/* Is there still such a directory? */
static bool is_there(const struct foreign_dir *dir)
{
	return !dir->in || dir->in->linked;
}

int foreign_find(struct foreigns *all, const struct foreign_dir *dir,
	const char *name, struct foreign **ret)
{
	struct foreign *f;

	pthread_mutex_lock(&all->lock);
	f = find(all, dir, name);
	if (f)
		f->n_refs++;
	pthread_mutex_unlock(&all->lock);
	if (!f)
		return -ENOENT;
	*ret = f;
	return 0;
}

static int make(struct foreigns *all, const struct foreign_dir *dir,
	const char *name, mode_t mode, struct foreign **ret)
{
	struct foreign *f;

	if (!is_there(dir))
		return -ENOENT;
	if (find(all, dir, name))
		return -EEXIST;
	if (all->cost + FILE_COST > FOREIGN_TOTAL_MAX)
		return -ENOSPC;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	*f = (struct foreign){ .all = all,
		.number = all->next_number++,
		.is_dir = S_ISDIR(mode),
		.mode = mode,
		.dir = *dir,
		.name = strdup(name),
		.linked = true,
		.n_refs = 2 };
	if (!f->name) {
		free(f);
		return -ENOMEM;
	}
	touch(f);
	all->cost += FILE_COST;
	f->next = all->first;
	all->first = f;
	*ret = f;
	return 0;
}

int foreign_make(struct foreigns *all, const struct foreign_dir *dir,
	const char *name, mode_t mode, struct foreign **ret)
{
	int r;

	pthread_mutex_lock(&all->lock);
	r = make(all, dir, name, mode, ret);
	pthread_mutex_unlock(&all->lock);
	return r;
}

/* May F be taken away by what removes a directory, or none? */
static int removable(
	const struct foreigns *all, const struct foreign *f, bool is_dir)
{
	if (f->is_dir != is_dir)
		return is_dir ? -ENOTDIR : -EISDIR;
	return has_any(all, f) ? -ENOTEMPTY : 0;
}

int foreign_remove(struct foreigns *all, const struct foreign_dir *dir,
	const char *name, bool is_dir)
{
	struct foreign *f;
	int r;

	pthread_mutex_lock(&all->lock);
	f = find(all, dir, name);
	r = f ? removable(all, f, is_dir) : -ENOENT;
	if (r == 0)
		unlink_it(all, f);
	pthread_mutex_unlock(&all->lock);
	return r;
}

static int move_to(struct foreigns *all, struct foreign *f,
	const struct foreign_dir *to, const char *to_name, unsigned flags)
{
	struct foreign *old = find(all, to, to_name);
	char *name;
	int r = 0;

	if (!is_there(to))
		return -ENOENT;
	if (old == f)
		return 0;
	if (old && (flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (old)
		r = removable(all, old, f->is_dir);
	name = r == 0 ? strdup(to_name) : NULL;
	if (r == 0 && !name)
		r = -ENOMEM;
	if (r < 0)
		return r;
	if (old)
		unlink_it(all, old);
	free(f->name);
	f->name = name;
	f->dir = *to;
	return 0;
}

int foreign_rename(struct foreigns *all, const struct foreign_dir *dir,
	const char *name, const struct foreign_dir *to, const char *to_name,
	unsigned flags)
{
	struct foreign *f;
	int r;

	if (flags & ~RENAME_NOREPLACE)
		return -EINVAL;
	pthread_mutex_lock(&all->lock);
	f = find(all, dir, name);
	r = f ? move_to(all, f, to, to_name, flags) : -ENOENT;
	pthread_mutex_unlock(&all->lock);
	return r;
}

int foreign_list(struct foreigns *all, const struct foreign_dir *dir,
	int (*visit)(void *arg, const char *name, struct foreign *f), void *arg)
{
	int r = 0;

	pthread_mutex_lock(&all->lock);
	for (struct foreign *f = all->first; r == 0 && f; f = f->next) {
		if (!is_in(f, dir))
			continue;
		f->n_refs++;
		r = visit(arg, f->name, f);
		if (r != 0)
			put(f);
	}
	pthread_mutex_unlock(&all->lock);
	return r;
}

struct foreign *foreign_ref(struct foreign *f)
{
	pthread_mutex_lock(&f->all->lock);
	f->n_refs++;
	pthread_mutex_unlock(&f->all->lock);
	return f;
}

void foreign_put(struct foreign *f)
{
	struct foreigns *all = f->all;

	pthread_mutex_lock(&all->lock);
	put(f);
	pthread_mutex_unlock(&all->lock);
}

uint64_t foreign_number(const struct foreign *f)
{
	return f->number;
}

bool foreign_is_dir(const struct foreign *f)
{
	return f->is_dir;
}

void foreign_stat(struct foreign *f, struct stat *st)
{
	pthread_mutex_lock(&f->all->lock);
	st->st_mode = f->mode;
	st->st_nlink = !f->linked ? 0 : f->is_dir ? 2 : 1;
	st->st_size = (off_t)f->len;
	st->st_blocks = (blkcnt_t)(round_up(f->len, 512) / 512);
	st->st_mtim = f->changed;
	pthread_mutex_unlock(&f->all->lock);
}

void foreign_chmod(struct foreign *f, mode_t mode)
{
	pthread_mutex_lock(&f->all->lock);
	f->mode = (f->mode & S_IFMT) | (mode & 0777);
	pthread_mutex_unlock(&f->all->lock);
}

size_t foreign_read(struct foreign *f, uint64_t off, size_t len, void *buf)
{
	size_t n = 0;

	pthread_mutex_lock(&f->all->lock);
	if (off < f->len) {
		n = MIN_OF(len, f->len - (size_t)off);
		memcpy(buf, f->data + off, n);
	}
	pthread_mutex_unlock(&f->all->lock);
	return n;
}

/* It is LEN long at least; what is new is zero. */
static int grow(struct foreign *f, uint64_t len)
{
	size_t cap = (size_t)round_up(len, 4096);
	uint8_t *data;

	if (len > FOREIGN_MAX)
		return -EFBIG;
	if (len <= f->len)
		return 0;
	if (cap > f->cap) {
		if (f->all->cost + cap - f->cap > FOREIGN_TOTAL_MAX)
			return -ENOSPC;
		data = realloc(f->data, cap);
		if (!data)
			return -ENOMEM;
		f->data = data;
		f->all->cost += cap - f->cap;
		f->cap = cap;
	}
	memset(f->data + f->len, 0, len - f->len);
	f->len = (size_t)len;
	return 0;
}

int foreign_write(struct foreign *f, uint64_t off, size_t len, const void *buf)
{
	int r;

	if (off > FOREIGN_MAX)
		return -EFBIG;
	pthread_mutex_lock(&f->all->lock);
	r = grow(f, off + len);
	if (r == 0) {
		memcpy(f->data + off, buf, len);
		touch(f);
	}
	pthread_mutex_unlock(&f->all->lock);
	return r;
}

int foreign_resize(struct foreign *f, uint64_t len)
{
	int r;

	pthread_mutex_lock(&f->all->lock);
	r = grow(f, len);
	if (r == 0) {
		f->len = (size_t)len;
		touch(f);
	}
	pthread_mutex_unlock(&f->all->lock);
	return r;
}

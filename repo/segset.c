/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/segset.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

#include "src/bytes.h"
#include "src/log.h"

#define MAX_OPEN 128
#define SWEEP_SECONDS 10

/* Neighbouring records read with one system call. */
#define RUN_RECORDS 64
#define RUN_BYTES (4u << 20)

struct segset {
	const char *path;
	int dir;
	struct seal seal;
	pthread_mutex_t lock;
	uint64_t clock;                 /* lock */
	time_t swept;                   /* lock */
	struct segfile *open[MAX_OPEN]; /* lock */
	unsigned n_open;                /* lock */
};

int segset_new(
	const char *path, int dir, const struct seal *seal, struct segset **ret)
{
	struct segset *s = calloc(1, sizeof(*s));

	if (!s)
		return fail(ENOMEM, "%s: %m", path);
	s->path = path;
	s->dir = dir;
	s->seal = *seal;
	pthread_mutex_init(&s->lock, NULL);
	*ret = s;
	return 0;
}

static void segfile_free(struct segfile *f)
{
	close(f->fd);
	free(f);
}

void segset_free(struct segset *s)
{
	for (unsigned i = 0; i < s->n_open; i++)
		segfile_free(s->open[i]);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* Lock held. */
static void unlist(struct segset *s, unsigned i)
{
	struct segfile *f = s->open[i];

	s->open[i] = s->open[--s->n_open];
	f->listed = false;
	if (f->users == 0)
		segfile_free(f);
}

/* Lock held. Files that were unlinked since. */
static void drop_unlinked(struct segset *s)
{
	struct stat st;

	for (unsigned i = s->n_open; i-- > 0;)
		if (fstat(s->open[i]->fd, &st) != 0 || st.st_nlink == 0)
			unlist(s, i);
}

void segset_tidy(struct segset *s)
{
	pthread_mutex_lock(&s->lock);
	drop_unlinked(s);
	pthread_mutex_unlock(&s->lock);
}

/* Lock held. */
static void sweep(struct segset *s)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (now.tv_sec - s->swept < SWEEP_SECONDS)
		return;
	s->swept = now.tv_sec;
	drop_unlinked(s);
}

/* Lock held. Makes room for one more; false if all are in use. */
static bool make_room(struct segset *s)
{
	unsigned oldest = s->n_open;

	if (s->n_open < MAX_OPEN)
		return true;
	for (unsigned i = 0; i < s->n_open; i++)
		if (s->open[i]->users == 0 &&
			(oldest == s->n_open ||
				s->open[i]->used < s->open[oldest]->used))
			oldest = i;
	if (oldest == s->n_open)
		return false;
	unlist(s, oldest);
	return true;
}

/* Lock held. */
static struct segfile *find(struct segset *s, uint32_t id)
{
	for (unsigned i = 0; i < s->n_open; i++)
		if (s->open[i]->id == id) {
			s->open[i]->users++;
			s->open[i]->used = ++s->clock;
			return s->open[i];
		}
	return NULL;
}

int segset_get(struct segset *s, uint32_t id, struct segfile **ret)
{
	char name[SEGMENT_NAME];
	struct segfile *f, *other;
	int fd;

	pthread_mutex_lock(&s->lock);
	sweep(s);
	f = find(s, id);
	pthread_mutex_unlock(&s->lock);
	if (f) {
		*ret = f;
		return 0;
	}
	fd = openat(s->dir, segment_name(id, name), O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0)
		return fail(errno, "%s/segments/%s: %m", s->path, name);
	f = malloc(sizeof(*f));
	if (!f) {
		close(fd);
		return fail(ENOMEM, "%s: %m", s->path);
	}
	*f = (struct segfile){ .id = id,
		.fd = fd,
		.seed = segment_seed(&s->seal, id),
		.users = 1 };
	pthread_mutex_lock(&s->lock);
	other = find(s, id);
	if (!other && make_room(s)) {
		f->listed = true;
		f->used = ++s->clock;
		s->open[s->n_open++] = f;
	}
	pthread_mutex_unlock(&s->lock);
	if (other) {
		segfile_free(f);
		f = other;
	}
	*ret = f;
	return 0;
}

void segset_put(struct segset *s, struct segfile *f)
{
	bool last;

	pthread_mutex_lock(&s->lock);
	last = --f->users == 0 && !f->listed;
	pthread_mutex_unlock(&s->lock);
	if (last)
		segfile_free(f);
}

void segset_forget(struct segset *s, uint32_t id)
{
	pthread_mutex_lock(&s->lock);
	for (unsigned i = s->n_open; i-- > 0;)
		if (s->open[i]->id == id)
			unlist(s, i);
	pthread_mutex_unlock(&s->lock);
}

static int by_place(const void *pa, const void *pb)
{
	const struct lookup *a = *(const struct lookup *const *)pa;
	const struct lookup *b = *(const struct lookup *const *)pb;

	if (a->at.segment != b->at.segment)
		return a->at.segment < b->at.segment ? -1 : 1;
	return a->at.off < b->at.off ? -1 : a->at.off > b->at.off;
}

/* The record in BUF, if it is the one wanted and whole, becomes the document.
 */
static int accept(const struct segfile *f, enum coll c, const struct lookup *w,
	uint8_t *buf, size_t avail)
{
	struct record r;
	int err = record_decode(buf, avail, f->seed, w->at.off, &r);

	if (err < 0)
		return err;
	if (r.kind != RECORD_PUT || r.coll != c || !key_eq(&r.key, w->key) ||
		r.version != w->at.version || r.body_len != w->at.len ||
		r.len > avail || !record_body_ok(&r, record_body(&r, buf)))
		return -EBADMSG;
	*w->ret = entry_doc(c, w->key, &w->at);
	w->ret->body = record_body(&r, buf);
	w->ret->owned = buf;
	return 0;
}

/* An unreadable sector is damage like any other: what it held is gone. */
static ssize_t read_run(const struct segset *s, const struct segfile *f,
	struct iovec *iov, unsigned n, uint64_t off)
{
	ssize_t got;

	do
		got = preadv(f->fd, iov, (int)n, (off_t)off);
	while (got < 0 && errno == EINTR);
	if (got >= 0)
		return got;
	if (errno != EIO)
		return fail(errno, "%s/segments/%08x.seg: read: %m", s->path,
			f->id);
	log_error("%s/segments/%08x.seg: read at %llu: %m", s->path, f->id,
		(unsigned long long)off);
	return n > 1 ? 0 : -EBADMSG;
}

static void read_records(struct segset *s, const struct segfile *f, enum coll c,
	struct lookup **w, unsigned n)
{
	struct iovec iov[RUN_RECORDS];
	ssize_t got;
	unsigned have;

	for (have = 0; have < n; have++) {
		iov[have].iov_len =
			entry_record_len(w[have]->key, &w[have]->at);
		iov[have].iov_base = malloc(iov[have].iov_len);
		if (!iov[have].iov_base)
			break;
	}
	for (unsigned i = have; i < n; i++)
		w[i]->err = fail(ENOMEM, "%s: read: %m", s->path);
	got = read_run(s, f, iov, have, w[0]->at.off);
	for (unsigned i = 0; i < have; i++) {
		size_t avail = got < 0 ? 0 : (size_t)got;

		avail = MIN_OF(avail, iov[i].iov_len);
		w[i]->err =
			got < 0 ? (int)got
				: accept(f, c, w[i], iov[i].iov_base, avail);
		if (w[i]->err < 0)
			free(iov[i].iov_base);
		if (got > 0)
			got -= (ssize_t)avail;
	}
}

void segset_read(
	struct segset *s, enum coll c, struct lookup **lookups, size_t n)
{
	size_t i = 0;

	if (n > 1)
		qsort(lookups, n, sizeof(struct lookup *), by_place);
	while (i < n) {
		struct lookup **w = lookups + i;
		uint64_t len = entry_record_len(w[0]->key, &w[0]->at);
		struct segfile *f;
		unsigned run = 1;
		int err;

		while (i + run < n && run < RUN_RECORDS && len < RUN_BYTES &&
			w[run]->at.segment == w[0]->at.segment &&
			w[run]->at.off == w[0]->at.off + len) {
			len += entry_record_len(w[run]->key, &w[run]->at);
			run++;
		}
		err = segset_get(s, w[0]->at.segment, &f);
		if (err == 0) {
			read_records(s, f, c, w, run);
			segset_put(s, f);
		}
		for (unsigned k = 0; err < 0 && k < run; k++)
			w[k]->err = err;
		i += run;
	}
}

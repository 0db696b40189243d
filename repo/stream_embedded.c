/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/stream_embedded.h"

#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

#include "repo/embedded.h"
#include "repo/stream_ops.h"
#include "repo/stream_tail.h"
#include "repo/stream_walk.h"
#include "src/log.h"

/* What is dead at the end of the last file is not worth a new one below this.
 */
#define TRIM_MIN (1u << 20)

struct embedded_stream {
	struct stream base;
	struct stream_dir dir;
	struct stream_set set;
	uint64_t next; /* of one that was peeked at */
	/* of one that is ours: */
	int lock; /* else -1 */
	struct stream_tail *tail;
	pthread_mutex_t trim; /* files go in order; before the locks of tail */
};

static inline struct embedded_stream *embedded_of(const struct stream *st)
{
	return (struct embedded_stream *)(uintptr_t)st;
}

static int append(struct stream *st, const struct iovec *iov, int n_iov,
	uint32_t len, uint64_t *ret_seq, uint64_t *ret_place)
{
	struct embedded_stream *e = embedded_of(st);

	assert(e->tail);
	return stream_tail_append(
		e->tail, STREAM_DATA, iov, n_iov, len, ret_seq, ret_place);
}

static int sync_all(struct stream *st)
{
	struct embedded_stream *e = embedded_of(st);

	return e->tail ? stream_tail_sync(e->tail) : 0;
}

static void flush(struct stream *st)
{
	struct embedded_stream *e = embedded_of(st);

	if (e->tail)
		stream_tail_flush(e->tail);
}

static uint64_t next(const struct stream *st)
{
	struct embedded_stream *e = embedded_of(st);

	return e->tail ? e->tail->next : e->next;
}

static int read_at(struct stream *st, uint64_t place, void *buf, size_t len)
{
	struct embedded_stream *e = embedded_of(st);
	uint32_t number = (uint32_t)(place >> 32), off = (uint32_t)place;
	struct stream_file *f;
	size_t done = 0;
	int r = stream_set_get(&e->set, number, &f);

	if (r < 0)
		return r;
	while (r == 0 && done < len) {
		ssize_t n = pread(f->fd, (uint8_t *)buf + done, len - done,
			(off_t)(off + done));

		if (n > 0)
			done += (size_t)n;
		else if (n == 0)
			r = fail(EBADMSG,
				"%s: file %08x: ends before offset %zu",
				e->dir.path, number, off + len);
		else if (errno != EINTR)
			r = fail(errno, "%s: file %08x: read at %zu: %m",
				e->dir.path, number, off + done);
	}
	stream_set_put(&e->set, f);
	return r;
}

static int trim(struct stream *st, uint64_t seq)
{
	struct embedded_stream *e = embedded_of(st);
	uint32_t number;
	int r;

	assert(e->tail);
	pthread_mutex_lock(&e->trim);
	r = stream_tail_roll(e->tail, seq, TRIM_MIN);
	if (r == -ENOSPC) /* the next trim may have space for it */
		r = 0;
	while (r == 0 && (number = stream_set_trim(&e->set, seq)) != 0)
		r = stream_dir_remove_file(&e->dir, number);
	pthread_mutex_unlock(&e->trim);
	return r;
}

static uint64_t bytes(const struct stream *st)
{
	return stream_set_bytes(&embedded_of(st)->set);
}

static void close_it(struct stream *st)
{
	struct embedded_stream *e = embedded_of(st);

	if (e->tail) {
		stream_tail_fini(e->tail);
		free(e->tail);
	}
	stream_set_fini(&e->set);
	if (e->lock >= 0)
		stream_dir_unlock(e->lock);
	stream_dir_fini(&e->dir);
	pthread_mutex_destroy(&e->trim);
	free(e);
}

static const struct stream_ops ops = {
	.append = append,
	.sync = sync_all,
	.flush = flush,
	.next = next,
	.read = read_at,
	.trim = trim,
	.bytes = bytes,
	.close = close_it,
};

static struct embedded_stream *stream_new(bool writable)
{
	struct embedded_stream *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->base.ops = &ops;
	e->lock = e->dir.fd = -1;
	stream_set_init(&e->set, &e->dir, writable);
	pthread_mutex_init(&e->trim, NULL);
	return e;
}

/* The directory, with its lock held. */
static int take_dir(const struct repodir *repo, const struct uuid *id,
	bool create, const struct stream_owner *owner, struct stream_dir *ret,
	int *ret_lock)
{
	struct stream_dir d;
	int r = stream_dir_open(repo, id, create, &d);

	if (r < 0)
		return r;
	r = stream_dir_lock(&d, owner, ret_lock);
	if (r < 0)
		stream_dir_fini(&d);
	else
		*ret = d;
	return r;
}

/*
 * Cuts off what is behind the records; makes the first file. Names may be from
 * an owner who died before it synced them. That of the directory cannot: it was
 * synced before there was a file.
 */
static int prepare(
	struct embedded_stream *e, const struct repodir *repo, uint64_t seq)
{
	struct stream_file *last;
	struct stat st;
	bool there;
	int fd, r = 0;

	if (e->set.files.n == 0) {
		r = stream_dir_sync_name(repo, &e->dir);
		if (r == 0)
			r = stream_dir_add_file(&e->dir, 1, seq, &there, &fd);
		return r != 0 ? r : stream_set_add(&e->set, 1, seq, fd);
	}
	r = stream_set_get(
		&e->set, e->set.files.v[e->set.files.n - 1]->number, &last);
	if (r < 0)
		return r;
	if (fstat(last->fd, &st) != 0 ||
		((uint64_t)st.st_size > last->end &&
			(ftruncate(last->fd, (off_t)last->end) != 0 ||
				fsync(last->fd) != 0)) ||
		fsync(e->dir.fd) != 0)
		r = fail(errno, "%s: %m", e->dir.path);
	stream_set_put(&e->set, last);
	return r;
}

/* The record that ends the epoch, whoever it was; then it is ours. */
static int begin_epoch(struct embedded_stream *e, uint64_t at,
	const struct stream_owner *owner)
{
	char text[STREAM_OWNER_TEXT];
	size_t len = stream_owner_write(owner, text);
	struct uuid id = uuid_random();
	struct iovec iov[2] = { { id.b, sizeof(id.b) }, { text, len } };
	uint64_t seq, place;
	int r;

	if (stream_epoch(at) == STREAM_EPOCH_MAX)
		return fail(EIO, "%s: was taken over too often", e->dir.path);
	e->tail = malloc(sizeof(*e->tail));
	if (!e->tail)
		return fail(ENOMEM, "%s: %m", e->dir.path);
	r = stream_tail_init(e->tail, &e->set, at);
	if (r < 0) {
		free(take(e->tail));
		return r;
	}
	r = stream_tail_append(e->tail, STREAM_TAKEOVER, iov, 2,
		(uint32_t)(sizeof(id.b) + len), &seq, &place);
	return r < 0 ? r : stream_tail_sync(e->tail);
}

static int take_over(struct embedded_stream *e, const struct repodir *repo,
	struct stream_walk *w, const struct stream_owner *owner)
{
	int r = stream_walk(w);

	if (r == 0)
		r = prepare(e, repo, w->next);
	if (r == 0)
		r = begin_epoch(e, w->next, owner);
	return r == -ENOSPC ? fail(ENOSPC, "%s: %m", e->dir.path) : r;
}

static int no_records(const struct repodir *repo, const struct uuid *id)
{
	char text[UUID_TEXT];

	return fail(EBADMSG, "%s: stream %s: is missing", repo->path,
		uuid_text(id, text));
}

int embedded_stream_open(struct store *s, const struct uuid *id, uint64_t from,
	const struct stream_owner *owner, stream_visit visit, void *arg,
	struct stream **ret)
{
	const struct repodir *repo = handle_of(s)->e->dir;
	struct embedded_stream *e;
	struct stream_walk w = { .from = from, .visit = visit, .arg = arg };
	int r = embedded_writable(handle_of(s));

	if (r < 0)
		return r;
	e = stream_new(true);
	if (!e)
		return fail(ENOMEM, "stream: %m");
	do
		r = take_dir(repo, id, from == 0, owner, &e->dir, &e->lock);
	while (r == -EAGAIN);
	w.set = &e->set;
	if (r == -ENOENT)
		r = no_records(repo, id);
	if (r == 0)
		r = take_over(e, repo, &w, owner);
	if (r != 0)
		close_it(&e->base);
	else
		*ret = &e->base;
	return r;
}

int embedded_stream_peek(struct store *s, const struct uuid *id, uint64_t from,
	stream_visit visit, void *arg, struct stream **ret)
{
	const struct repodir *repo = handle_of(s)->e->dir;
	struct embedded_stream *e = stream_new(false);
	struct stream_walk w = { .from = from, .visit = visit, .arg = arg };
	int r;

	if (!e)
		return fail(ENOMEM, "stream: %m");
	w.set = &e->set;
	r = stream_dir_open(repo, id, false, &e->dir);
	if (r == -ENOENT)
		r = from > 0 ? no_records(repo, id) : 0;
	else if (r == 0)
		r = stream_walk(&w);
	e->next = w.next;
	if (r != 0)
		close_it(&e->base);
	else
		*ret = &e->base;
	return r;
}

int embedded_stream_owner(
	struct store *s, const struct uuid *id, struct stream_owner *ret)
{
	struct stream_dir d;
	int r = stream_dir_open(handle_of(s)->e->dir, id, false, &d);

	if (r < 0)
		return r;
	r = stream_dir_owner(&d, ret);
	stream_dir_fini(&d);
	return r;
}

int embedded_stream_remove(struct store *s, const struct uuid *id)
{
	const struct repodir *repo = handle_of(s)->e->dir;
	struct stream_dir d;
	int lock, r = embedded_writable(handle_of(s));

	if (r < 0)
		return r;
	do
		r = take_dir(repo, id, false, NULL, &d, &lock);
	while (r == -EAGAIN);
	if (r < 0)
		return r;
	r = stream_dir_remove(repo, &d, lock);
	stream_dir_fini(&d);
	return r;
}

int embedded_stream_list(struct store *s,
	int (*visit)(void *arg, const struct uuid *id), void *arg)
{
	return stream_dirs_list(handle_of(s)->e->dir, visit, arg);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/restore.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "repo/chunk.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/pool.h"

/*
 * Threads take units of a window, or as many windows as keep a sparse disk of
 * 64 TiB at a million units: its time follows what it holds.
 */
#define UNITS_MAX (UINT64_C(1) << 20)

/* Shorter zeroes amid data are written: a punch costs more than that. */
#define PUNCH_MIN (64u << 10)

static const uint8_t zeroes[256u << 10];

/* Bytes of one kind; of data at most a window. */
struct segment {
	uint64_t len;
	enum blk_kind kind;
};

uint64_t restore_size(const struct restore *job)
{
	return job->disk ? job->disk->size : live_size(job->live);
}

int restore_extent(const struct restore *job, uint64_t off, uint64_t end,
	struct blk_extent *ret)
{
	struct run run;
	int r;

	if (!job->disk)
		return live_extent(job->live, off, end, ret);
	r = disk_run(job->disk, off, end, &run);
	if (r == 0)
		*ret = (struct blk_extent){ .len = run.len, .kind = run.kind };
	return r;
}

int restore_read(const struct restore *job, uint64_t off, uint64_t len,
	struct pieces *ret)
{
	return job->disk ? disk_read(job->disk, off, (uint32_t)len, ret)
			 : live_read(job->live, off, (uint32_t)len, ret);
}

/* What another attempt would not make better, and others may do without. */
static bool is_damage(const struct restore *job, int r)
{
	return job->damaged && (r == -EBADMSG || r == -ENOENT);
}

/* What begins at OFF of the disk, within [off, end). */
static int segment_at(const struct restore *job, uint64_t off, uint64_t end,
	struct segment *ret)
{
	uint64_t window_end =
		MIN_OF(end, round_down(off, WINDOW_LEN) + WINDOW_LEN);
	struct blk_extent e;
	int r = restore_extent(job, off, end, &e);

	if (r < 0)
		return r;
	*ret = (struct segment){ .len = e.len, .kind = e.kind };
	if (e.kind != BLK_DATA)
		return 0;
	/* of what was written to a clone more may follow than a window */
	ret->len = MIN_OF(ret->len, window_end - off);
	while (off + ret->len < window_end) {
		r = restore_extent(job, off + ret->len, window_end, &e);
		if (r < 0)
			return r;
		if (e.kind != BLK_DATA)
			break;
		ret->len += e.len;
	}
	return 0;
}

/* Where no map says what it holds: the rest of its window. */
static struct segment unreadable(uint64_t off, uint64_t end)
{
	uint64_t window_end = round_down(off, WINDOW_LEN) + WINDOW_LEN;

	return (struct segment){ .len = MIN_OF(end, window_end) - off,
		.kind = BLK_LOST };
}

struct writing {
	const struct restore *job;
	struct blk *to;
	bool fresh, compare;
	uint64_t unit;
	uint8_t **buffers;    /* compare: CHUNK_MAX for each thread */
	pthread_mutex_t lock; /* job->lost, job->damaged */
};

static int write_piece(struct writing *w, const uint8_t *data, uint32_t len,
	uint64_t off, unsigned thread)
{
	int r;

	if (w->compare) {
		r = blk_pread(w->to, w->buffers[thread], len, off);
		if (r < 0 || memcmp(w->buffers[thread], data, len) == 0)
			return r;
	}
	r = blk_pwrite(w->to, data, len, off);
	if (r == 0)
		atomic_fetch_add(w->job->written, len);
	return r;
}

/* As far as it can be read. */
static int write_readable(
	struct writing *w, uint64_t off, uint64_t len, unsigned thread)
{
	struct pieces pieces = { 0 };
	int r = restore_read(w->job, off, len, &pieces);

	if (r < 0)
		return r;
	for (size_t i = 0; i < pieces.n && r == 0; i++) {
		const struct piece *p = &pieces.v[i];

		r = write_piece(w, p->data, p->len, off, thread);
		off += p->len;
	}
	pieces_fini(&pieces);
	return r;
}

/* Holes that are there already are left alone. */
static int punch(struct writing *w, uint64_t off, uint64_t len)
{
	struct blk_extent e;

	for (; len > 0; off += e.len, len -= e.len) {
		int r = blk_extent(w->to, off, len, &e);

		if (r == 0 && e.kind != BLK_ZERO)
			r = blk_zero(w->to, off, e.len);
		if (r < 0)
			return r;
	}
	return 0;
}

static int write_zeroes(
	struct writing *w, uint64_t off, uint64_t len, unsigned thread)
{
	if (w->fresh)
		return 0;
	if (len < PUNCH_MIN)
		return write_piece(w, zeroes, (uint32_t)len, off, thread);
	return punch(w, off, len);
}

static int note(struct writing *w, struct lost_ranges *where, uint64_t off,
	uint64_t len)
{
	int r;

	pthread_mutex_lock(&w->lock);
	r = lost_add(where, w->job->name, off, len);
	pthread_mutex_unlock(&w->lock);
	return r;
}

/* Zeroes in the place of what cannot be read. */
static int write_damaged(
	struct writing *w, uint64_t off, uint64_t len, unsigned thread)
{
	int r = note(w, w->job->damaged, off, len);

	return r < 0 ? r : write_zeroes(w, off, len, thread);
}

/* Of a window that cannot be read as a whole, chunk by chunk what can. */
static int write_parts(
	struct writing *w, uint64_t off, uint64_t end, unsigned thread)
{
	struct blk_extent e;
	int r = 0;

	for (; r == 0 && off < end; off += e.len) {
		r = restore_extent(w->job, off, end, &e);
		if (r == 0)
			r = write_readable(w, off, e.len, thread);
		if (is_damage(w->job, r))
			r = write_damaged(w, off, e.len, thread);
	}
	return r;
}

static int write_data(
	struct writing *w, uint64_t off, uint64_t len, unsigned thread)
{
	int r = write_readable(w, off, len, thread);

	return is_damage(w->job, r) ? write_parts(w, off, off + len, thread)
				    : r;
}

static int write_unit(void *arg, uint64_t i, unsigned thread)
{
	struct writing *w = arg;
	uint64_t off = i * w->unit;
	uint64_t end = MIN_OF(restore_size(w->job), off + w->unit);
	struct segment s;

	for (; off < end; off += s.len) {
		int r = atomic_load(w->job->cancel) ? -ECANCELED : 0;

		if (r == 0)
			r = segment_at(w->job, off, end, &s);
		if (is_damage(w->job, r)) {
			s = unreadable(off, end);
			r = note(w, w->job->damaged, off, s.len);
		} else if (r == 0 && s.kind == BLK_LOST) {
			r = note(w, w->job->lost, off, s.len);
		}
		if (r < 0)
			return r;
		r = s.kind == BLK_DATA ? write_data(w, off, s.len, thread)
				       : write_zeroes(w, off, s.len, thread);
		if (r < 0)
			return r;
		atomic_fetch_add(w->job->done, s.len);
	}
	return 0;
}

static void free_buffers(struct writing *w)
{
	for (unsigned t = 0; w->buffers && t < w->job->n_threads; t++)
		free(w->buffers[t]);
	free(w->buffers);
}

static int make_buffers(struct writing *w)
{
	w->buffers = calloc(w->job->n_threads, sizeof(*w->buffers));
	if (!w->buffers)
		return fail(ENOMEM, "%s: %m", w->to->name);
	for (unsigned t = 0; t < w->job->n_threads && w->compare; t++) {
		w->buffers[t] = malloc(CHUNK_MAX);
		if (!w->buffers[t])
			return fail(ENOMEM, "%s: %m", w->to->name);
	}
	return 0;
}

int restore_to_blk(
	const struct restore *job, struct blk *to, bool fresh, bool compare)
{
	uint64_t size = restore_size(job);
	struct writing w = {
		.job = job,
		.to = to,
		.fresh = fresh,
		.compare = compare && !fresh,
		.unit = round_up(size / UNITS_MAX + 1, WINDOW_LEN),
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	int r = make_buffers(&w);

	if (r == 0)
		r = parallel_for(job->n_threads, (size + w.unit - 1) / w.unit,
			write_unit, &w);
	free_buffers(&w);
	if (r == 0)
		lost_sort(job->lost);
	if (r == 0 && job->damaged)
		lost_sort(job->damaged);
	return r;
}

/* A window that is fetched while those before it are being written. */
struct ahead {
	struct disk *disk;
	uint64_t off;
};

static void ahead_run(void *arg)
{
	struct ahead *a = arg;
	uint64_t left = a->disk->size - a->off;

	disk_prefetch(a->disk, a->off, MIN_OF(left, (uint64_t)WINDOW_LEN));
	free(a);
}

static void ahead_drop(void *arg)
{
	free(arg);
}

struct stream {
	const struct restore *job;
	int fd;
	const char *name;
	struct pool *pool;
	uint64_t asked; /* windows before this offset were asked for */
};

static void fetch_ahead(struct stream *s, uint64_t off)
{
	uint64_t until = off + (uint64_t)WINDOW_LEN * 2 * s->job->n_threads;

	/* what was written to a clone is in its stream, not in chunks */
	if (!s->job->disk)
		return;
	if (s->asked < off)
		s->asked = round_down(off, WINDOW_LEN);
	for (; s->asked < MIN_OF(until, s->job->disk->size);
		s->asked += WINDOW_LEN) {
		struct ahead *a = malloc(sizeof(*a));

		if (!a)
			return;
		*a = (struct ahead){ s->job->disk, s->asked };
		if (!pool_try(s->pool, a)) {
			free(a);
			return;
		}
	}
}

static int write_all(struct stream *s, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n;

		if (atomic_load(s->job->cancel))
			return -ECANCELED;
		n = write(s->fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(errno, "%s: write: %m", s->name);
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int stream_zeroes(struct stream *s, uint64_t len)
{
	int r = 0;

	while (len > 0 && r == 0) {
		size_t n = MIN_OF(len, (uint64_t)sizeof(zeroes));

		r = write_all(s, zeroes, n);
		len -= n;
	}
	return r;
}

static int stream_readable(struct stream *s, uint64_t off, uint64_t len)
{
	struct pieces pieces = { 0 };
	int r = restore_read(s->job, off, len, &pieces);

	if (r < 0)
		return r;
	for (size_t i = 0; i < pieces.n && r == 0; i++)
		r = write_all(s, pieces.v[i].data, pieces.v[i].len);
	pieces_fini(&pieces);
	return r;
}

static int stream_damaged(struct stream *s, uint64_t off, uint64_t len)
{
	int r = lost_add(s->job->damaged, s->job->name, off, len);

	return r < 0 ? r : stream_zeroes(s, len);
}

static int stream_data(struct stream *s, uint64_t off, uint64_t len)
{
	uint64_t end = off + len;
	struct blk_extent e;
	int r;

	fetch_ahead(s, off);
	r = stream_readable(s, off, len);
	if (!is_damage(s->job, r))
		return r;
	for (r = 0; r == 0 && off < end; off += e.len) {
		r = restore_extent(s->job, off, end, &e);
		if (r == 0)
			r = stream_readable(s, off, e.len);
		if (is_damage(s->job, r))
			r = stream_damaged(s, off, e.len);
	}
	return r;
}

static int stream(struct stream *s)
{
	const struct restore *job = s->job;
	uint64_t size = restore_size(job);
	struct segment seg;

	for (uint64_t off = 0; off < size; off += seg.len) {
		int r = atomic_load(job->cancel) ? -ECANCELED : 0;

		if (r == 0)
			r = segment_at(job, off, size, &seg);
		if (is_damage(job, r)) {
			seg = unreadable(off, size);
			r = lost_add(job->damaged, job->name, off, seg.len);
		} else if (r == 0 && seg.kind == BLK_LOST) {
			r = lost_add(job->lost, job->name, off, seg.len);
		}
		if (r < 0)
			return r;
		r = seg.kind == BLK_DATA ? stream_data(s, off, seg.len)
					 : stream_zeroes(s, seg.len);
		if (r < 0)
			return r;
		atomic_fetch_add(job->done, seg.len);
		atomic_fetch_add(job->written, seg.len);
	}
	return 0;
}

int restore_to_fd(const struct restore *job, int fd, const char *name)
{
	struct stream s = { .job = job, .fd = fd, .name = name };
	int r = pool_new(job->n_threads, 4 * job->n_threads, ahead_run,
		ahead_drop, &s.pool);

	if (r < 0)
		return r;
	r = stream(&s);
	pool_free(s.pool);
	return r;
}

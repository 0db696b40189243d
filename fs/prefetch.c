/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/prefetch.h"

#include <stdlib.h>

#include "src/bytes.h"

/* Tasks that may wait: what two streams can be ahead. */
#define N_PENDING 32u

/* As many bytes in order make a stream worth decoding for. */
#define STREAM_LEAST (UINT64_C(128) << 10)

/* How far a request may be from where its stream ends: those of the kernel's
 * read-ahead overtake each other by as much. */
#define DISORDER (UINT64_C(2) << 20)

struct task {
	struct view *view;
	uint64_t off, len; /* of the disk */
};

static void task_drop(void *arg)
{
	struct task *t = arg;

	view_put(t->view);
	free(t);
}

static void task_run(void *arg)
{
	struct task *t = arg;

	view_prefetch(t->view, t->off, t->len);
	task_drop(t);
}

int prefetch_init(struct prefetch *p, uint64_t cache_bound, unsigned n_threads)
{
	p->ahead = round_up(MIN_OF(cache_bound / 8, AHEAD_MAX), AHEAD_STEP);
	return pool_new(MAX_OF(n_threads, 2u), N_PENDING, task_run, task_drop,
		&p->pool);
}

void prefetch_fini(struct prefetch *p)
{
	pool_free(p->pool);
}

void reader_init(struct reader *r, struct prefetch *p, struct view *v)
{
	*r = (struct reader){ .prefetch = p, .view = v };
	pthread_mutex_init(&r->lock, NULL);
}

void reader_fini(struct reader *r)
{
	pthread_mutex_destroy(&r->lock);
}

/* The stream that a read at OFF goes on with, or the one it takes over. */
static struct sequence *find_sequence(struct reader *r, uint64_t off)
{
	struct sequence *oldest = &r->streams[0];

	for (unsigned i = 0; i < N_STREAMS; i++) {
		struct sequence *s = &r->streams[i];

		if (s->end && off + DISORDER >= s->end &&
			off <= s->end + DISORDER)
			return s;
		if (s->last < oldest->last)
			oldest = s;
	}
	*oldest = (struct sequence){ .start = off, .end = off, .sent = off };
	return oldest;
}

/* False if the pool has no room: then the next read tries again. */
static bool send(struct reader *r, uint64_t off, uint64_t end)
{
	const struct layout *l = &r->view->layout;
	struct task *t;

	off = MAX_OF(off, l->prefix) - l->prefix;
	end = MAX_OF(end, l->prefix) - l->prefix;
	end = MIN_OF(end, l->disk);
	if (off >= end)
		return true;
	t = malloc(sizeof(*t));
	if (!t)
		return false;
	*t = (struct task){ view_ref(r->view), off, end - off };
	if (pool_try(r->prefetch->pool, t))
		return true;
	task_drop(t);
	return false;
}

/* As far ahead as it has read so far, in whole steps. */
static void send_ahead(struct reader *r, struct sequence *s)
{
	uint64_t size = layout_size(&r->view->layout);
	uint64_t ahead = MIN_OF(s->end - s->start, r->prefetch->ahead);
	uint64_t target = MIN_OF(round_up(s->end + ahead, AHEAD_STEP), size);

	if (s->sent < s->end)
		s->sent = s->end;
	while (s->sent < target) {
		uint64_t end = round_down(s->sent, AHEAD_STEP) + AHEAD_STEP;

		if (!send(r, s->sent, end))
			break;
		s->sent = end;
	}
}

void reader_saw(struct reader *r, uint64_t off, uint64_t len)
{
	struct sequence *s;

	/* whoever holds the lock speaks for all who come meanwhile */
	if (pthread_mutex_trylock(&r->lock) != 0)
		return;
	s = find_sequence(r, off);
	s->last = ++r->clock;
	s->read += len;
	if (off < s->start)
		s->start = off;
	if (off + len > s->end)
		s->end = off + len;
	/* one read is no stream; and reads in no order leave most of it out */
	if (s->read > len && s->read >= STREAM_LEAST &&
		s->read >= (s->end - s->start) / 2)
		send_ahead(r, s);
	pthread_mutex_unlock(&r->lock);
}

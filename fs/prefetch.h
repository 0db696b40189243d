/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefetch - decodes ahead of whoever reads a file in order, on all cores, and
 * with several requests on their way where the store is far from here. It
 * never makes a read wait, and reads in no order cost it a look at four
 * numbers.
 *
 * The kernel reads ahead too, in several requests at a time that arrive in any
 * order; and a guest reads several of its files at once through one open file.
 * So a reader has a few streams, each of which forgives some disorder.
 *
 * Ownership  a reader borrows its view; tasks hold references of their own.
 * Threads    any thread.
 */
#ifndef HIVEFS_PREFETCH_H
#define HIVEFS_PREFETCH_H

#include <pthread.h>

#include "fs/view.h"
#include "src/pool.h"

/* How far ahead, at the most, and in what portions. */
#define AHEAD_MAX (UINT64_C(16) << 20)
#define AHEAD_STEP (UINT64_C(1) << 20)

/* Shared by all open files. */
struct prefetch {
	struct pool *pool;
	uint64_t ahead; /* AHEAD_MAX, or less where the cache is small */
};

/* N_THREADS at a time decode, or wait for what they decode. */
int must_check prefetch_init(
	struct prefetch *p, uint64_t cache_bound, unsigned n_threads);

/* Lets what is under way finish. */
void prefetch_fini(struct prefetch *p);

#define N_STREAMS 4

struct sequence {
	uint64_t start, end; /* of what was read: [start, end) */
	uint64_t read;       /* bytes of it, more or less all of them */
	uint64_t sent;       /* decoded ahead up to here */
	uint64_t last;       /* reader->clock when it was last used */
};

/* Of one open file. */
struct reader {
	struct prefetch *prefetch;
	struct view *view;
	pthread_mutex_t lock;
	uint64_t clock;                     /* lock */
	struct sequence streams[N_STREAMS]; /* lock */
};

void reader_init(struct reader *r, struct prefetch *p, struct view *v);
void reader_fini(struct reader *r);

/* A read of [off, off + len) of the view has been asked for. */
void reader_saw(struct reader *r, uint64_t off, uint64_t len);

#endif

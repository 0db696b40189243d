/* SPDX-License-Identifier: Apache-2.0 */
/*
 * window - one 4 MiB window of a source becomes a leaf: read, cut, hash, ask,
 * compress, batch. All of the work of a backup that is done in parallel.
 *
 * Ownership  a worker belongs to one thread and borrows what it is given.
 * Threads    one thread at a time a worker.
 */
#ifndef HIVEFS_WINDOW_H
#define HIVEFS_WINDOW_H

#include <stdbool.h>

#include "repo/leafwrite.h"
#include "src/blk.h"

#define WINDOW_PAGES (WINDOW_LEN / PAGE_LEN)

/* A set of pages of a window. */
struct page_set {
	uint64_t bits[WINDOW_PAGES / 64];
};

static inline bool page_in(const struct page_set *s, uint32_t page)
{
	return s->bits[page / 64] >> page % 64 & 1;
}

static inline void page_add(struct page_set *s, uint32_t page)
{
	s->bits[page / 64] |= UINT64_C(1) << page % 64;
}

struct window_job {
	uint64_t index; /* of the window */
	struct page_set
		data; /* to be read; what is not here nor lost is zero */
	struct page_set lost; /* the source said so itself */
	struct digest base;   /* the parent's leaf, or absent */
};

struct window_result {
	uint64_t read, data, lost;
	struct leaf_result leaf;
};

struct window_worker;

struct window_params {
	struct leaf_writer_params store;
	bool skip_errors;
};

int must_check window_worker_new(
	const struct window_params *params, struct window_worker **ret);
void window_worker_free(struct window_worker *w);
DEFINE_CLEANUP(struct window_worker *, window_worker_free);

/* NULL in a dry run. */
struct batch *window_batch(struct window_worker *w);

int must_check window_run(struct window_worker *w, struct blk *source,
	const struct window_job *job, struct window_result *ret);

#endif

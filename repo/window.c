/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/window.h"

#include <errno.h>
#include <string.h>

#include "src/bytes.h"
#include "src/log.h"

struct window_worker {
	bool skip_errors;
	struct leaf_writer *writer;
	uint8_t *bytes; /* of the window being worked on */
	struct leaf leaf;
};

int window_worker_new(
	const struct window_params *params, struct window_worker **ret)
{
	struct window_worker *w = calloc(1, sizeof(*w));
	int err = 0;

	if (w)
		w->bytes = aligned_alloc(PAGE_LEN, WINDOW_LEN);
	if (!w || !w->bytes)
		err = fail(ENOMEM, "backup: %m");
	if (err == 0) {
		w->skip_errors = params->skip_errors;
		err = leaf_writer_new(&params->store, &w->writer);
	}
	if (err < 0 && w)
		window_worker_free(w);
	else if (err == 0)
		*ret = w;
	return err;
}

void window_worker_free(struct window_worker *w)
{
	if (w->writer)
		leaf_writer_free(w->writer);
	free(w->bytes);
	free(w);
}

struct batch *window_batch(struct window_worker *w)
{
	return leaf_writer_batch(w->writer);
}

/* One by one: a page that cannot be read is lost, its neighbours are not. */
static int read_pages(struct window_worker *w, struct blk *source,
	uint64_t base, uint32_t off, uint32_t end, struct page_set *lost)
{
	for (; off < end; off += PAGE_LEN) {
		uint32_t n = MIN_OF(PAGE_LEN, end - off);

		if (blk_pread(source, w->bytes + off, n, base + off) == 0)
			continue;
		/* a source that is gone altogether is not a dying disk */
		if (blk_changed(source) != 0)
			return fail(EIO, "%s: vanished while being read",
				source->name);
		page_add(lost, off / PAGE_LEN);
	}
	return 0;
}

static int read_run(struct window_worker *w, struct blk *source, uint64_t base,
	uint32_t off, uint32_t end, struct page_set *lost)
{
	int err = blk_pread(source, w->bytes + off, end - off, base + off);

	if (err < 0 && w->skip_errors)
		err = read_pages(w, source, base, off, end, lost);
	return err;
}

static uint32_t run_end(
	const struct page_set *set, bool in, uint32_t off, uint32_t len)
{
	while (off < len && page_in(set, off / PAGE_LEN) == in)
		off += PAGE_LEN;
	return MIN_OF(off, len);
}

static int read_window(struct window_worker *w, struct blk *source,
	const struct window_job *job, uint32_t len, struct page_set *lost,
	struct window_result *r)
{
	uint64_t base = job->index * WINDOW_LEN;

	for (uint32_t off = 0, end; off < len; off = end) {
		int err;

		end = run_end(&job->data, page_in(&job->data, off / PAGE_LEN),
			off, len);
		if (!page_in(&job->data, off / PAGE_LEN))
			continue;
		err = read_run(w, source, base, off, end, lost);
		if (err < 0)
			return err;
		r->read += end - off;
	}
	return 0;
}

/* Cuts a run of pages that were read. */
static void cut_run(struct window_worker *w, uint32_t off, uint32_t end,
	struct window_result *r)
{
	while (off < end) {
		size_t n = chunk_zeroes(w->bytes + off, end - off);
		struct digest d;

		if (n) {
			leaf_add(&w->leaf, (uint32_t)n, BLK_ZERO, NULL);
		} else {
			n = chunk_cut(w->bytes + off, end - off);
			d = digest_of(w->bytes + off, n);
			leaf_add(&w->leaf, (uint32_t)n, BLK_DATA, &d);
			r->data += n;
		}
		off += (uint32_t)n;
	}
}

static void cut_window(struct window_worker *w, const struct page_set *data,
	const struct page_set *lost, uint32_t len, struct window_result *r)
{
	w->leaf.n = 0;
	for (uint32_t off = 0, end; off < len; off = end) {
		uint32_t page = off / PAGE_LEN;

		if (page_in(lost, page)) {
			end = run_end(lost, true, off, len);
			leaf_add(&w->leaf, end - off, BLK_LOST, NULL);
			r->lost += end - off;
			continue;
		}
		end = MIN_OF(run_end(data, page_in(data, page), off, len),
			run_end(lost, false, off, len));
		if (page_in(data, page))
			cut_run(w, off, end, r);
		else
			leaf_add(&w->leaf, end - off, BLK_ZERO, NULL);
	}
}

int window_run(struct window_worker *w, struct blk *source,
	const struct window_job *job, struct window_result *ret)
{
	uint64_t left = source->size - job->index * WINDOW_LEN;
	uint32_t len = (uint32_t)MIN_OF(left, (uint64_t)WINDOW_LEN);
	struct page_set lost = job->lost;
	struct window_result r = { 0 };
	int err = read_window(w, source, job, len, &lost, &r);

	if (err < 0)
		return err;
	cut_window(w, &job->data, &lost, len, &r);
	err = leaf_write(w->writer, &w->leaf, &job->base, w->bytes, &r.leaf);
	if (err == 0)
		*ret = r;
	return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/window.h"

#include <errno.h>
#include <string.h>

#include "repo/mapbuild.h"
#include "src/bytes.h"
#include "src/log.h"

struct window_worker {
	struct window_params params;
	struct codec *codec;
	struct batch *batch;
	uint8_t *bytes; /* of the window being worked on */
	struct leaf leaf, base;
	uint8_t packed[MAP_PACKED_MAX];
	uint8_t scratch[CHUNK_BODY_MAX]; /* dry run: bodies go nowhere */

	/* what the window's leaf names and the parent's does not */
	size_t n_unknown;
	const struct leaf_extent *unknown[LEAF_EXTENTS_MAX];
	struct key keys[LEAF_EXTENTS_MAX];
	bool exists[LEAF_EXTENTS_MAX];
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
		w->params = *params;
		err = codec_new(params->repo->level, &w->codec);
	}
	if (err == 0 && params->writer)
		err = batch_new(params->repo, writer_generation(params->writer),
			params->batch_len, &w->batch);
	if (err < 0 && w)
		window_worker_free(w);
	else if (err == 0)
		*ret = w;
	return err;
}

void window_worker_free(struct window_worker *w)
{
	if (w->batch)
		batch_free(w->batch);
	if (w->codec)
		codec_free(w->codec);
	free(w->bytes);
	free(w);
}

struct batch *window_batch(struct window_worker *w)
{
	return w->batch;
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

	if (err < 0 && w->params.skip_errors)
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

/* Cuts and hashes a run of pages that were read. */
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

static bool base_has(const struct window_worker *w, const struct digest *d)
{
	for (uint32_t i = 0; i < w->base.n; i++)
		if (w->base.v[i].kind == BLK_DATA &&
			digest_eq(&w->base.v[i].chunk, d))
			return !quarantine_has(w->params.quarantine, d);
	return false;
}

/*
 * What the parent's leaf names is reached by a point that was listed after we
 * registered: it needs no look-up.
 */
static void list_unknown(struct window_worker *w, const struct window_job *job)
{
	uint32_t len;

	w->base.n = 0;
	if (!digest_is_none(&job->base) &&
		(map_load(w->params.repo, &job->base, 0, w->packed, &len) < 0 ||
			leaf_unpack(w->packed, len, &w->base) < 0))
		w->base.n = 0;
	w->n_unknown = 0;
	for (uint32_t i = 0; i < w->leaf.n; i++) {
		const struct leaf_extent *e = &w->leaf.v[i];

		if (e->kind == BLK_DATA && !base_has(w, &e->chunk))
			w->unknown[w->n_unknown++] = e;
	}
}

/* Looked up among the condemned first, then asked for: never the other way. */
static int ask(struct window_worker *w)
{
	for (size_t i = 0; i < w->n_unknown; i++) {
		const struct digest *d = &w->unknown[i]->chunk;
		int err = w->params.writer ? writer_rely(w->params.writer,
						     COLL_CHUNKS, d, 1)
					   : 0;

		if (err < 0)
			return err;
		w->keys[i] = key_of(d->b, sizeof(d->b));
	}
	return store_exists_many(w->params.repo->store, COLL_CHUNKS, w->keys,
		w->n_unknown, w->exists);
}

static int store_chunk(struct window_worker *w, const struct leaf_extent *e,
	struct window_result *r)
{
	const uint8_t *plain = w->bytes + e->off;
	uint8_t *room = w->scratch;
	uint32_t len;
	int err = 0;

	if (w->batch && batch_has(w->batch, COLL_CHUNKS, &e->chunk))
		return 0;
	if (w->batch)
		err = batch_room(w->batch, CHUNK_BODY_MAX, &room);
	if (err == 0)
		err = chunk_encode(w->codec, plain, e->len, room, &len);
	if (err < 0)
		return err;
	if (w->batch)
		return batch_add(w->batch, COLL_CHUNKS, &e->chunk, len, e->len);
	r->fresh += e->len;
	r->stored += len;
	return 0;
}

static int store_leaf(
	struct window_worker *w, const struct digest *d, uint32_t len)
{
	uint8_t *room;
	int err;

	if (!w->batch)
		return 0;
	err = writer_rely(w->params.writer, COLL_MAPS, d, 1);
	if (err == 0)
		err = batch_room(w->batch, MAP_PACKED_MAX + 64, &room);
	if (err < 0)
		return err;
	len = leaf_pack(&w->leaf, w->packed);
	return batch_add(
		w->batch, COLL_MAPS, d, map_body(w->packed, len, room), 0);
}

static bool leaf_quarantined(
	const struct window_worker *w, const struct digest *d)
{
	const struct quarantine *q = w->params.quarantine;

	if (q->n == 0)
		return false;
	for (uint32_t i = 0; i < w->leaf.n; i++)
		if (w->leaf.v[i].kind == BLK_DATA &&
			quarantine_has(q, &w->leaf.v[i].chunk))
			return true;
	return quarantine_has(q, d);
}

int window_run(struct window_worker *w, struct blk *source,
	const struct window_job *job, struct window_result *ret)
{
	uint64_t left = source->size - job->index * WINDOW_LEN;
	uint32_t len = (uint32_t)MIN_OF(left, (uint64_t)WINDOW_LEN);
	struct page_set lost = job->lost;
	struct window_result r = { 0 };
	uint32_t packed_len;
	int err = read_window(w, source, job, len, &lost, &r);

	if (err < 0)
		return err;
	cut_window(w, &job->data, &lost, len, &r);
	packed_len = leaf_pack(&w->leaf, w->packed);
	if (packed_len)
		r.leaf = digest_of(w->packed, packed_len);
	r.changed = !digest_eq(&r.leaf, &job->base);
	if (packed_len && (r.changed || leaf_quarantined(w, &r.leaf))) {
		list_unknown(w, job);
		err = ask(w);
		for (size_t i = 0; err == 0 && i < w->n_unknown; i++)
			if (!w->exists[i])
				err = store_chunk(w, w->unknown[i], &r);
		if (err == 0)
			err = store_leaf(w, &r.leaf, packed_len);
	}
	if (err == 0)
		*ret = r;
	return err;
}

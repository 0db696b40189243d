/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every access walks from the root: at most three nodes and a leaf, each a hit
 * of some 100 ns in the cache. A walk over a range keeps the leaf it is in.
 */
#include "repo/disk.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "repo/map.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/log_many.h"

#define RUNS_AT_ONCE 64u      /* 4 MiB on average: what is fetched together */
#define EXTENT_RUNS_MAX 4096u /* looked at for one answer of blk_extent() */

int disk_open(struct cache *c, const char *name, const struct digest *root,
	uint64_t size, uint32_t sector_size, struct disk **ret)
{
	scoped(freep) struct disk *d = malloc(sizeof(*d));

	assert(size <= DISK_MAX);
	if (!d)
		return fail(ENOMEM, "%s: %m", name);
	*d = (struct disk){ .cache = c,
		.name = strdup(name),
		.root = *root,
		.size = size,
		.sector_size = sector_size };
	if (!d->name)
		return fail(ENOMEM, "%s: %m", name);
	*ret = take(d);
	return 0;
}

void disk_close(struct disk *d)
{
	free(d->name);
	free(d);
}

/* What covers a place of the disk: a leaf, or what an absent map stands for. */
struct span {
	uint64_t off, end;   /* of the whole windows it covers */
	struct cached *leaf; /* NULL: zeroes */
};

static void span_fini(struct span *s)
{
	if (s->leaf)
		cache_put(s->leaf);
	s->leaf = NULL;
}

static uint64_t map_covers(unsigned level)
{
	return (uint64_t)WINDOW_LEN << 8 * level;
}

/* Leaves SPAN as it is if it covers OFF already. */
static int span_at(struct disk *d, uint64_t off, struct span *span)
{
	unsigned level = map_root_level(d->size);
	struct digest map = d->root;
	struct cached *node;
	int r;

	if (off >= span->off && off < span->end)
		return 0;
	span_fini(span);
	span->end = 0;
	while (level > 0 && !digest_is_none(&map)) {
		uint64_t below = map_covers(level - 1);

		r = cache_map(d->cache, &map, level, &node);
		if (r < 0)
			return r;
		map = node_child(node->data, off / below % MAP_FAN);
		cache_put(node);
		level--;
	}
	if (!digest_is_none(&map)) {
		r = cache_map(d->cache, &map, 0, &span->leaf);
		if (r < 0)
			return r;
	}
	span->off = round_down(off, map_covers(level));
	span->end = span->off + map_covers(level);
	return 0;
}

/* The run at OFF within [off, end), along a SPAN that begins as { 0 }. */
static int run_at(struct disk *d, uint64_t off, uint64_t end, struct span *span,
	struct run *ret)
{
	struct leaf_extent e = { .kind = BLK_ZERO };
	uint64_t run_off, run_end;
	int r = span_at(d, off, span);

	if (r < 0)
		return r;
	run_off = span->off;
	run_end = span->end;
	if (span->leaf) {
		leaf_find(span->leaf->data, span->leaf->len,
			(uint32_t)(off - span->off), &e);
		run_off += e.off;
		run_end = run_off + e.len;
	}
	*ret = (struct run){
		.off = off, .len = MIN_OF(run_end, end) - off, .kind = e.kind
	};
	if (e.kind == BLK_DATA) {
		ret->chunk = e.chunk;
		ret->within = (uint32_t)(off - run_off);
		ret->chunk_len = e.len;
	}
	return 0;
}

static int failed(const struct disk *d, int err, uint64_t off, uint64_t len)
{
	static struct log_many damaged = { .what = "damage to disks" };

	if (err == -EBADMSG || err == -ENOENT)
		return fail_many(&damaged, -err,
			"%s: bytes %" PRIu64 " to %" PRIu64 ": read: %s",
			d->name, off, off + len,
			err == -ENOENT ? "missing from the repository, or "
					 "set aside as damaged"
				       : "damaged");
	return fail(-err, "%s: bytes %" PRIu64 " to %" PRIu64 ": read: %m",
		d->name, off, off + len);
}

int disk_run(struct disk *d, uint64_t off, uint64_t end, struct run *ret)
{
	struct span span = { 0 };
	int r;

	assert(off < end && end <= d->size);
	r = run_at(d, off, end, &span, ret);
	span_fini(&span);
	return r < 0 ? failed(d, r, off, end - off) : 0;
}

void pieces_fini(struct pieces *p)
{
	for (size_t i = 0; i < p->n; i++) {
		if (p->v[i].entry)
			cache_put(p->v[i].entry);
		free(p->v[i].owned);
	}
	vec_fini(p);
}

void pieces_copy(const struct pieces *p, uint8_t *out)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct piece *piece = &p->v[i];

		if (piece->data)
			memcpy(out, piece->data, piece->len);
		else
			memset(out, 0, piece->len);
		out += piece->len;
	}
}

static int add_zeroes(struct pieces *p, uint32_t len)
{
	struct piece *last = p->n ? &p->v[p->n - 1] : NULL;

	if (last && !last->data) {
		last->len += len;
		return 0;
	}
	return vec_add(p, (struct piece){ .len = len });
}

/* What of it is not there yet is fetched in one request, if MIN or more are. */
static void prefetch_runs(
	struct disk *d, const struct run *runs, size_t n, size_t min)
{
	struct digest chunks[RUNS_AT_ONCE];
	size_t n_chunks = 0;

	for (size_t i = 0; i < n; i++)
		if (runs[i].kind == BLK_DATA)
			chunks[n_chunks++] = runs[i].chunk;
	if (n_chunks >= min)
		cache_prefetch(d->cache, chunks, n_chunks);
}

/* At the first chunk that is not there those of all N runs are asked for. */
static int add_chunk(
	struct disk *d, const struct run *run, size_t n, struct pieces *p)
{
	struct cached *entry = NULL;
	int r = vec_reserve(p, 1);

	if (r < 0)
		return r;
	entry = cache_peek(d->cache, &run->chunk);
	if (!entry) {
		prefetch_runs(d, run, n, 2);
		r = cache_chunk(d->cache, &run->chunk, &entry);
	}
	if (r < 0)
		return r;
	assert(entry);
	/* its digest is right, so it is the map that says otherwise */
	if (entry->len != run->chunk_len) {
		cache_put(entry);
		return -EBADMSG;
	}
	p->v[p->n++] = (struct piece){ .entry = entry,
		.data = entry->data + run->within,
		.len = (uint32_t)run->len };
	return 0;
}

/* The first of N runs. */
static int add_run(
	struct disk *d, const struct run *run, size_t n, struct pieces *p)
{
	switch (run->kind) {
	case BLK_DATA:
		return add_chunk(d, run, n, p);
	case BLK_ZERO:
		return add_zeroes(p, (uint32_t)run->len);
	case BLK_LOST:
	default:
		return -EIO;
	}
}

/* Up to RUNS_AT_ONCE runs from OFF on; where they end in *ret_end. */
static int collect(struct disk *d, uint64_t off, uint64_t end,
	struct span *span, struct run runs[RUNS_AT_ONCE], size_t *ret_n,
	uint64_t *ret_end)
{
	size_t n = 0;

	while (off < end && n < RUNS_AT_ONCE) {
		int r = run_at(d, off, end, span, &runs[n]);

		if (r < 0)
			return r;
		off += runs[n++].len;
	}
	*ret_n = n;
	*ret_end = off;
	return 0;
}

int disk_read(struct disk *d, uint64_t off, uint32_t len, struct pieces *ret)
{
	uint64_t end = off + len, at = off;
	struct run runs[RUNS_AT_ONCE];
	struct pieces p = { 0 };
	struct span span = { 0 };
	int r = 0;

	assert(off <= d->size && len <= d->size - off);
	while (r == 0 && at < end) {
		uint64_t next;
		size_t n;

		r = collect(d, at, end, &span, runs, &n, &next);
		if (r < 0) {
			failed(d, r, at, end - at);
			break;
		}
		for (size_t i = 0; r == 0 && i < n; i++) {
			r = add_run(d, &runs[i], n - i, &p);
			if (r < 0)
				failed(d, r, runs[i].off, runs[i].len);
		}
		at = next;
	}
	span_fini(&span);
	if (r < 0)
		pieces_fini(&p);
	else
		*ret = p;
	return r;
}

void disk_prefetch(struct disk *d, uint64_t off, uint64_t len)
{
	struct run runs[RUNS_AT_ONCE];
	struct span span = { 0 };
	uint64_t end;
	size_t n;

	if (off >= d->size)
		return;
	end = off + MIN_OF(len, d->size - off);
	while (off < end && collect(d, off, end, &span, runs, &n, &off) == 0)
		prefetch_runs(d, runs, n, 1);
	span_fini(&span);
}

struct disk_blk {
	struct blk blk; /* must come first */
	struct disk *disk;
};

static struct disk *disk_of(struct blk *b)
{
	return ((struct disk_blk *)b)->disk;
}

static int read_step(struct disk *d, uint8_t *buf, uint32_t len, uint64_t off)
{
	struct pieces p;
	int r = disk_read(d, off, len, &p);

	if (r < 0)
		return r;
	pieces_copy(&p, buf);
	pieces_fini(&p);
	return 0;
}

static int disk_blk_pread(struct blk *b, void *buf, size_t len, uint64_t off)
{
	uint8_t *p = buf;

	/* a window at a time: no more of the cache is pinned at once */
	while (len > 0) {
		uint32_t step = (uint32_t)MIN_OF(len, (size_t)WINDOW_LEN);
		int r = read_step(disk_of(b), p, step, off);

		if (r < 0)
			return r;
		p += step;
		off += step;
		len -= step;
	}
	return 0;
}

static int disk_blk_extent(
	struct blk *b, uint64_t off, uint64_t len, struct blk_extent *ret)
{
	struct disk *d = disk_of(b);
	struct span span = { 0 };
	uint64_t end = off + len, at = off;
	struct run run;
	int r = 0;

	for (unsigned i = 0; at < end && i < EXTENT_RUNS_MAX; i++) {
		r = run_at(d, at, end, &span, &run);
		if (r < 0 || (at > off && run.kind != ret->kind))
			break;
		ret->kind = run.kind;
		at += run.len;
	}
	span_fini(&span);
	/* what is known so far is an answer: the rest is asked for again */
	if (at == off)
		return failed(d, r, off, len);
	ret->len = at - off;
	return 0;
}

static void disk_blk_close(struct blk *b)
{
	free(b->name);
	free(b);
}

static const struct blk_ops disk_blk_ops = {
	.pread = disk_blk_pread,
	.extent = disk_blk_extent,
	.close = disk_blk_close,
};

int disk_blk(struct disk *d, struct blk **ret)
{
	scoped(freep) struct disk_blk *b = malloc(sizeof(*b));

	if (!b)
		return fail(ENOMEM, "%s: %m", d->name);
	*b = (struct disk_blk){
		.blk = { .ops = &disk_blk_ops,
			.name = strdup(d->name),
			.size = d->size,
			.sector_size = d->sector_size },
		.disk = d,
	};
	if (!b->blk.name)
		return fail(ENOMEM, "%s: %m", d->name);
	*ret = &take(b)->blk;
	return 0;
}

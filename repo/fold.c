/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/fold.h"

#include <errno.h>
#include <string.h>

#include "repo/fetch.h"
#include "repo/live_fold.h"
#include "repo/mapbuild.h"
#include "repo/overlay.h"
#include "repo/rechunk.h"
#include "repo/writer.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/pool.h"

#define ROUND 512u
#define BATCH_LEN (16u << 20)
#define CACHE_LEN (16u << 20)
#define THREADS_MAX FOLD_THREADS_MAX
#define ATTEMPTS 5

/* More than this is not carried along in the stream but folded. */
#define CARRY_PAGES_MAX (64u << 20 >> 12)

struct worker {
	struct leaf_writer *writer;
	uint8_t *bytes;
	struct leaf old, fresh;
	uint8_t packed[MAP_PACKED_MAX];
};

struct result {
	int err; /* -EBADMSG: what its chunks held cannot be read */
	struct digest leaf;
	uint64_t data_before, data, lost_before, lost, touched, read;
};

struct pass {
	const struct fold *fold;
	struct live *live;
	struct cache
		*cache; /* not the readers', whose chunks would have to go */
	struct disk *root;
	struct writer *writer;
	const struct quarantine *quarantine;
	unsigned n_threads;
	struct worker workers[THREADS_MAX];
	struct leaf_writer *nodes; /* whose batch the nodes of maps go into */
	struct map_base *base;
	unsigned n;
	uint64_t windows[ROUND];
	struct digest olds[ROUND];
	struct result results[ROUND];
	struct fold_stats stats; /* of the disk under way */
};

static uint64_t leaf_bytes(const struct leaf *l, enum blk_kind kind)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < l->n; i++)
		if (l->v[i].kind == kind)
			bytes += l->v[i].len;
	return bytes;
}

static void changed_pages(
	const struct overlay *o, uint64_t window, struct page_set *ret)
{
	uint64_t first = window * WINDOW_PAGES;
	uint64_t place;

	memset(ret, 0, sizeof(*ret));
	for (uint64_t p = 0, n; p < WINDOW_PAGES; p += n) {
		n = overlay_run(o, first + p, WINDOW_PAGES - p, &place);
		for (uint64_t i = p; place != PLACE_NONE && i < p + n; i++)
			page_add(ret, (uint32_t)i);
	}
}

/* What was moved to the quarantine is missing: it was damaged. */
static int damage_if_missing(int err)
{
	return err == -ENOENT ? -EBADMSG : err;
}

struct source {
	struct live *live;
	struct disk *root;
	uint64_t off; /* of the window */
};

static int read_now(void *arg, uint32_t off, uint32_t len, uint8_t *buf)
{
	const struct source *s = arg;

	return damage_if_missing(
		live_read_frozen(s->live, s->root, s->off + off, len, buf));
}

static int load_old(struct pass *p, struct worker *w, const struct digest *d)
{
	uint32_t len;
	int err;

	w->old.n = 0;
	if (digest_is_none(d))
		return 0;
	err = map_load(p->fold->repo, d, 0, w->packed, &len);
	err = damage_if_missing(err);
	return err < 0 ? err : leaf_unpack(w->packed, len, &w->old);
}

/* Bytes of the chunks that were written to; of what was none, the pages. */
static uint64_t touched(const struct leaf *old, const struct page_set *changed)
{
	uint64_t bytes = 0;
	uint32_t page = 0;

	for (uint32_t i = 0; i <= old->n; i++) {
		const struct leaf_extent *e = i < old->n ? &old->v[i] : NULL;
		uint32_t end = e ? (e->off + e->len + PAGE_LEN - 1) / PAGE_LEN
				 : WINDOW_PAGES;
		uint64_t pages = 0;

		for (; page < end; page++)
			pages += page_in(changed, page);
		if (pages)
			bytes += e && e->kind == BLK_DATA ? e->len
							  : pages * PAGE_LEN;
	}
	return bytes;
}

/* As after trimming a disk: no need to make zeroes to look at. */
static bool is_all_zero(struct live *l, uint64_t window)
{
	uint64_t left = live_size(l) - window * WINDOW_LEN;
	uint64_t n = round_up(MIN_OF(left, (uint64_t)WINDOW_LEN), PAGE_LEN) /
		     PAGE_LEN;
	uint64_t place;

	return overlay_run(live_frozen(l), window * WINDOW_PAGES, n, &place) ==
		       n &&
	       place == PLACE_ZERO;
}

/*
 * What is in the quarantine is taken over from no map: it is asked for, and
 * stored where it is not there, so its bytes must be in hand, also where no
 * page of it was written. A guest that writes the same bytes over damage heals
 * it so.
 */
static int read_quarantined(
	struct pass *p, struct worker *w, struct source *source)
{
	int err = 0;

	for (uint32_t i = 0; err == 0 && i < w->fresh.n; i++) {
		const struct leaf_extent *e = &w->fresh.v[i];

		if (e->kind == BLK_DATA &&
			quarantine_has(p->quarantine, &e->chunk))
			err = read_now(
				source, e->off, e->len, w->bytes + e->off);
	}
	return err;
}

static int fold_one(struct pass *p, uint64_t i, unsigned thread)
{
	struct worker *w = &p->workers[thread];
	struct result *r = &p->results[i];
	struct source source = { p->live, p->root, p->windows[i] * WINDOW_LEN };
	uint64_t left = live_size(p->live) - source.off;
	struct page_set changed;
	struct rechunk job = { .old = &w->old,
		.changed = &changed,
		.len = (uint32_t)MIN_OF(left, (uint64_t)WINDOW_LEN),
		.read = read_now,
		.arg = &source };
	struct leaf_result leaf;
	int err = load_old(p, w, &p->olds[i]);

	r->err = err;
	if (err < 0)
		return err == -EBADMSG ? 0 : err;
	r->data_before = leaf_bytes(&w->old, BLK_DATA);
	r->lost_before = leaf_bytes(&w->old, BLK_LOST);
	if (is_all_zero(p->live, p->windows[i])) {
		r->leaf = (struct digest){ { 0 } };
		r->data = r->lost = r->touched = r->read = 0;
		return 0;
	}
	changed_pages(live_frozen(p->live), p->windows[i], &changed);
	r->touched = touched(&w->old, &changed);
	err = rechunk(&job, w->bytes, &w->fresh, &r->read);
	if (err == 0)
		err = read_quarantined(p, w, &source);
	if (err == 0)
		err = leaf_write(
			w->writer, &w->fresh, &p->olds[i], w->bytes, &leaf);
	r->err = err;
	if (err < 0)
		return err == -EBADMSG ? 0 : err;
	r->leaf = leaf.digest;
	r->data = leaf_bytes(&w->fresh, BLK_DATA);
	r->lost = leaf_bytes(&w->fresh, BLK_LOST);
	writer_beat(p->writer);
	return 0;
}

static int fold_window(void *arg, uint64_t i, unsigned thread)
{
	struct pass *p = arg;
	struct fold_control *c = p->fold->control;
	int err = atomic_load(&c->stop) ? -ECANCELED : fold_one(p, i, thread);

	atomic_fetch_add(&c->done, 1);
	return err;
}

static bool is_sparse(const struct pass *p, uint64_t window)
{
	return overlay_window_pages(live_frozen(p->live), window) <
	       p->fold->sparse_pages;
}

/* Is what lies sparsely so little that the stream may keep it? */
static bool may_carry(const struct pass *p)
{
	const struct overlay *o = live_frozen(p->live);
	uint64_t pages = 0;

	for (uint64_t w = overlay_next_window(o, 0); w != UINT64_MAX;
		w = overlay_next_window(o, w + 1))
		if (is_sparse(p, w))
			pages += overlay_window_pages(o, w);
	return pages <= CARRY_PAGES_MAX;
}

static int carry(struct pass *p, uint64_t window)
{
	struct fold_control *c = p->fold->control;

	p->stats.carried++;
	atomic_fetch_add(&c->done, 1);
	return atomic_load(&c->stop) ? -ECANCELED : live_carry(p->live, window);
}

/* The next windows to fold from *at on; sparse ones are carried. */
static int plan(struct pass *p, bool carries, uint64_t *at)
{
	const struct overlay *o = live_frozen(p->live);
	int err = 0;

	p->n = 0;
	while (err == 0 && p->n < ROUND) {
		uint64_t w = overlay_next_window(o, *at);

		if (w == UINT64_MAX)
			break;
		*at = w + 1;
		if (carries && is_sparse(p, w)) {
			err = carry(p, w);
			continue;
		}
		p->olds[p->n] = map_base_digest(p->base, 0, w);
		p->windows[p->n++] = w;
	}
	return err;
}

/*
 * A window that lies over damage stays in the stream, where what the guest
 * wrote is readable; unless all is to be folded.
 */
static int join(
	struct pass *p, struct map_builder *m, unsigned i, struct clone_disk *d)
{
	const struct result *r = &p->results[i];

	if (r->err < 0 && p->fold->sparse_pages == 0)
		return r->err;
	if (r->err < 0)
		return live_carry(p->live, p->windows[i]);
	d->data += r->data - r->data_before;
	d->lost += r->lost - r->lost_before;
	p->stats.touched += r->touched;
	p->stats.read += r->read;
	return map_builder_add(m, p->windows[i], &r->leaf);
}

static int fold_windows(
	struct pass *p, struct map_builder *m, struct clone_disk *d)
{
	bool carries = p->fold->sparse_pages && may_carry(p);
	uint64_t at = 0;
	int err;

	do {
		err = plan(p, carries, &at);
		if (err == 0)
			err = map_base_error(p->base);
		if (err == 0)
			err = parallel_for(p->n_threads, p->n, fold_window, p);
		for (unsigned i = 0; err == 0 && i < p->n; i++)
			err = join(p, m, i, d);
		p->stats.windows += p->n;
	} while (err == 0 && p->n);
	return err;
}

static int flush(struct pass *p)
{
	int err = 0;

	for (unsigned t = 0; t <= p->n_threads; t++) {
		struct batch *b = leaf_writer_batch(
			t < p->n_threads ? p->workers[t].writer : p->nodes);
		struct batch_stats s;

		if (err == 0)
			err = batch_flush(b);
		s = batch_take_stats(b);
		p->stats.fresh += s.plain;
		p->stats.stored += s.stored;
	}
	return err;
}

/* One disk's new map; nothing refers to it yet. */
static int fold_disk(struct pass *p, struct clone_disk *d)
{
	scoped(map_base_freep) struct map_base *base = NULL;
	scoped(map_builder_freep) struct map_builder *m = NULL;
	scoped(disk_closep) struct disk *root = NULL;
	struct clone_disk fresh = *d;
	int err = map_base_new(p->fold->repo, &d->root, d->size, &base);

	if (err == 0)
		err = disk_open(p->cache, live_name(p->live), &d->root, d->size,
			d->sector_size, &root);
	if (err < 0)
		return err;
	p->root = root;
	err = map_builder_new(d->size, true, base, p->quarantine, p->writer,
		leaf_writer_batch(p->nodes), &m);
	if (err < 0)
		return err;
	p->base = base;
	err = fold_windows(p, m, &fresh);
	if (err == 0)
		err = map_builder_finish(m, &fresh.root);
	if (err == 0)
		err = map_base_error(base);
	if (err == 0)
		err = flush(p);
	if (err == 0)
		err = live_carry_side(p->live);
	/* what was carried must last before the stream it came from goes */
	if (err == 0)
		err = live_sync(p->live);
	if (err < 0)
		return err;
	fresh.from = live_cut(p->live);
	*d = fresh;
	return 0;
}

static int pass_begin(struct pass *p)
{
	struct leaf_writer_params params = { .repo = p->fold->repo,
		.writer = p->writer,
		.quarantine = p->quarantine,
		.batch_len = BATCH_LEN };
	int err = leaf_writer_new(&params, &p->nodes);

	if (err == 0)
		err = cache_new(p->fold->repo, CACHE_LEN, &p->cache);
	p->n_threads = p->fold->n_threads;
	for (unsigned t = 0; err == 0 && t < p->n_threads; t++) {
		p->workers[t].bytes = malloc(WINDOW_LEN);
		err = p->workers[t].bytes
			      ? leaf_writer_new(&params, &p->workers[t].writer)
			      : fail(ENOMEM, "fold: %m");
	}
	return err;
}

static void pass_end(struct pass *p)
{
	for (unsigned t = 0; t < THREADS_MAX; t++) {
		if (p->workers[t].writer)
			leaf_writer_free(p->workers[t].writer);
		free(p->workers[t].bytes);
	}
	if (p->nodes)
		leaf_writer_free(p->nodes);
	if (p->cache)
		cache_free(p->cache);
	free(p);
}

static int fold_disks(const struct fold *f, struct writer *w,
	const struct quarantine *q, struct clone *c, struct fold_stats *stats)
{
	struct pass *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return fail(ENOMEM, "fold: %m");
	p->fold = f;
	p->writer = w;
	p->quarantine = q;
	err = pass_begin(p);
	for (size_t i = 0; err == 0 && i < c->disks.n; i++) {
		struct clone_disk *d = &c->disks.v[i];
		struct digest old = d->root;

		p->live = f->disks[i];
		memset(&p->stats, 0, sizeof(p->stats));
		if (live_frozen(p->live))
			err = fold_disk(p, d);
		stats[i] = p->stats;
		if (err == 0 && !digest_eq(&old, &d->root) &&
			!digest_is_none(&old) &&
			vec_add(&c->retired, (struct retired_root){ .root = old,
						     .size = d->size }) < 0)
			err = fail(ENOMEM, "fold: %m");
	}
	pass_end(p);
	return err;
}

/* What changed the document meanwhile was no fold: we have the streams. */
static int attempt(const struct fold *f, struct fold_stats *stats)
{
	struct writer *w = NULL;
	struct clone c = { 0 };
	struct quarantine q = { 0 };
	/* the document first, then the registration that names its version */
	int err = clone_get(f->repo, &f->clone->id, &c);

	if (err == 0)
		err = writer_begin(f->repo, WRITER_CLONE, &c.id, c.version, &w);
	if (err == 0)
		err = quarantine_load(f->repo, &q);
	if (err == 0)
		err = fold_disks(f, w, &q, &c, stats);
	if (err == 0)
		err = quarantine_check(f->repo, &q);
	if (err == 0)
		err = clone_swap(f->repo, &c);
	quarantine_fini(&q);
	if (w)
		writer_end(w);
	if (err == 0) {
		clone_fini(f->clone);
		*f->clone = c;
	} else {
		clone_fini(&c);
	}
	return err;
}

void fold_stats_add(struct fold_stats *all, const struct fold_stats *more)
{
	all->windows += more->windows;
	all->carried += more->carried;
	all->touched += more->touched;
	all->read += more->read;
	all->fresh += more->fresh;
	all->stored += more->stored;
}

static uint64_t count_windows(const struct fold *f)
{
	uint64_t n = 0;

	for (size_t i = 0; i < f->clone->disks.n; i++) {
		const struct overlay *o = live_frozen(f->disks[i]);

		n += o ? overlay_stats(o).n_windows : 0;
	}
	return n;
}

/* Another changed the clone's document, or more is in quarantine. */
static bool is_again(int err)
{
	return err == -ESTALE || err == -EAGAIN;
}

int fold(const struct fold *f, struct fold_stats *stats)
{
	int err = -ESTALE;

	atomic_store(&f->control->done, 0);
	atomic_store(&f->control->all, count_windows(f));
	for (int i = 0; i < ATTEMPTS && is_again(err); i++)
		err = attempt(f, stats);
	for (size_t i = 0; err == 0 && i < f->clone->disks.n; i++)
		if (live_frozen(f->disks[i]))
			err = live_thaw(
				f->disks[i], &f->clone->disks.v[i].root);
	return err;
}

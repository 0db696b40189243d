/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/live.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "repo/chunk.h"
#include "repo/overlay.h"
#include "src/bytes.h"
#include "src/log.h"

/* The map below, for as long as anyone reads it. */
struct root {
	struct disk *disk;
	unsigned n_refs; /* live->lock */
};

struct live {
	char *name;
	struct cache *cache;
	struct stream *stream;
	bool owned;
	uint64_t size;
	uint32_t sector_size;
	pthread_mutex_t turn; /* before lock: of writers; the stream's order */
	struct side *side;    /* turn to change it */
	bool side_noted;      /* turn; since the cut */
	uint64_t cut;         /* turn; the frozen layer ends before it */
	uint64_t cut_data;    /* turn; what `data` was then */
	pthread_mutex_t lock; /* for moments: what is where */
	struct overlay *active; /* lock */
	struct overlay *frozen; /* lock; changed only by the one who folds */
	struct root *root;      /* lock */
	uint64_t data;          /* lock */
	bool written;           /* lock */
};

static void root_put(struct live *l, struct root *r)
{
	bool last;

	pthread_mutex_lock(&l->lock);
	last = --r->n_refs == 0;
	pthread_mutex_unlock(&l->lock);
	if (last) {
		disk_close(r->disk);
		free(r);
	}
}

static int root_new(
	struct live *l, const struct digest *digest, struct root **ret)
{
	struct root *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return fail(ENOMEM, "%s: %m", l->name);
	r->n_refs = 1;
	err = disk_open(
		l->cache, l->name, digest, l->size, l->sector_size, &r->disk);
	if (err < 0)
		free(r);
	else
		*ret = r;
	return err;
}

/* Where a run of pages is: the layers from the top, then the map. */
struct where {
	uint64_t place; /* PLACE_NONE: in the map */
	uint64_t pages;
};

/* Lock held. */
static struct where look(const struct live *l, uint64_t page, uint64_t n)
{
	struct where w;

	w.pages = overlay_run(l->active, page, n, &w.place);
	if (w.place == PLACE_NONE && l->frozen)
		w.pages = overlay_run(l->frozen, page, w.pages, &w.place);
	return w;
}

/*
 * Bytes in data extents among pages that are in the map: what leaves st_blocks
 * when they are written or zeroed.
 */
static uint64_t map_data(
	struct live *l, struct disk *d, uint64_t page, uint64_t n)
{
	uint64_t off = page * PAGE_LEN;
	uint64_t end = MIN_OF((page + n) * PAGE_LEN, l->size);
	uint64_t data = 0;

	while (off < end) {
		struct run run;

		/* a damaged map must not keep anyone from writing over it */
		if (disk_run(d, off, end, &run) < 0)
			break;
		if (run.kind == BLK_DATA)
			data += run.len;
		off += run.len;
	}
	return data;
}

static uint64_t bytes_of(const struct live *l, uint64_t page, uint64_t n)
{
	return MIN_OF((page + n) * PAGE_LEN, l->size) - page * PAGE_LEN;
}

/* Our turn, so that nobody else changes the active layer meanwhile. */
static uint64_t data_now(struct live *l, uint64_t page, uint64_t n)
{
	uint64_t data = 0;

	for (uint64_t end = page + n; page < end;) {
		struct root *root;
		struct where w;

		pthread_mutex_lock(&l->lock);
		w = look(l, page, end - page);
		root = l->root;
		root->n_refs++;
		pthread_mutex_unlock(&l->lock);
		if (w.place == PLACE_NONE)
			data += map_data(l, root->disk, page, w.pages);
		else if (w.place != PLACE_ZERO)
			data += bytes_of(l, page, w.pages);
		root_put(l, root);
		page += w.pages;
	}
	return data;
}

/* Enters pages that are alike into the active layer. */
static int enter(struct live *l, uint64_t page, uint64_t n, uint64_t place)
{
	uint64_t before = data_now(l, page, n);
	int err;

	pthread_mutex_lock(&l->lock);
	err = overlay_set(l->active, page, n, place);
	if (err == 0) {
		l->data -= before;
		if (place != PLACE_ZERO)
			l->data += bytes_of(l, page, n);
		l->written = true;
	}
	pthread_mutex_unlock(&l->lock);
	return err < 0 ? fail(-err, "%s: %m", l->name) : 0;
}

/*
 * How many pages from PAGE on, up to N, are alike: a hole already, or not. Our
 * turn.
 */
static uint64_t hole_run(
	struct live *l, uint64_t page, uint64_t n, bool *ret_hole)
{
	struct root *root;
	struct where w;
	struct run run;

	pthread_mutex_lock(&l->lock);
	w = look(l, page, n);
	root = l->root;
	root->n_refs++;
	pthread_mutex_unlock(&l->lock);
	*ret_hole = w.place == PLACE_ZERO;
	/* over a damaged map nothing is known to be one */
	if (w.place == PLACE_NONE &&
		disk_run(root->disk, page * PAGE_LEN,
			page * PAGE_LEN + bytes_of(l, page, w.pages),
			&run) == 0) {
		*ret_hole = run.kind == BLK_ZERO;
		w.pages = round_up(run.len, PAGE_LEN) / PAGE_LEN;
	}
	root_put(l, root);
	return w.pages;
}

/* The first page from PAGE on that is no hole, or END. */
static uint64_t skip_holes(struct live *l, uint64_t page, uint64_t end)
{
	bool hole = true;

	while (page < end) {
		uint64_t n = hole_run(l, page, end - page, &hole);

		if (!hole)
			break;
		page += n;
	}
	return page;
}

/*
 * Zeroes, but for what is a hole anyway: a guest that makes a file system trims
 * the whole disk first, which must cost neither memory nor a fold.
 */
static int enter_zero(struct live *l, uint64_t page, uint64_t n)
{
	uint64_t end = page + n;
	int err = 0;

	while (err == 0 && (page = skip_holes(l, page, end)) < end) {
		uint64_t to = page;
		bool hole = false;

		while (to < end) {
			n = hole_run(l, to, end - to, &hole);
			if (hole)
				break;
			to += n;
		}
		err = enter(l, page, to - page, PLACE_ZERO);
		page = to;
	}
	return err;
}

/*
 * Enters written pages, those that are all zero as such: the map that a fold
 * makes of them has a hole there, so they are one from the beginning.
 */
static int enter_data(struct live *l, uint64_t page, uint64_t n,
	const uint8_t *const *pages, uint64_t place)
{
	int err = 0;

	for (uint64_t i = 0, k; err == 0 && i < n; i = k) {
		bool zero = is_zero(pages[i], PAGE_LEN);

		for (k = i + 1; k < n && is_zero(pages[k], PAGE_LEN) == zero;)
			k++;
		err = enter(l, page + i, k - i,
			zero ? PLACE_ZERO : place + i * PAGE_LEN);
	}
	return err;
}

/* Room for it was reserved. */
static void note_side(
	struct live *l, const struct wrecord *r, const uint8_t *data)
{
	side_apply(l->side, r, data);
	l->side_noted = true;
	pthread_mutex_lock(&l->lock);
	l->written = true;
	pthread_mutex_unlock(&l->lock);
}

static int replay(void *arg, uint64_t seq, uint64_t place,
	const uint8_t *payload, uint32_t len)
{
	struct live *l = arg;
	const uint8_t *pages[WRECORD_PAGES_MAX];
	struct wrecord r;
	int err = wrecord_parse(payload, len, l->size, &r);

	if (err < 0)
		return fail(EBADMSG, "%s: record %" PRIu64 ": is damaged",
			l->name, seq);
	if (r.space != WRECORD_DISK) {
		err = side_reserve(l->side, &r);
		if (err == 0)
			note_side(l, &r, payload + WRECORD_HEAD);
		return err;
	}
	if (r.kind == WRECORD_ZERO)
		return enter_zero(l, r.off / PAGE_LEN, r.len / PAGE_LEN);
	for (uint64_t i = 0; i < r.len / PAGE_LEN; i++)
		pages[i] = payload + WRECORD_HEAD + i * PAGE_LEN;
	return enter_data(l, r.off / PAGE_LEN, r.len / PAGE_LEN, pages,
		place + WRECORD_HEAD);
}

int live_open(struct cache *c, const char *name, const struct clone_disk *d,
	const struct stream_owner *owner, struct live **ret)
{
	struct live *l = calloc(1, sizeof(*l));
	struct store *s = cache_repo(c)->store;
	int err;

	if (!l)
		return fail(ENOMEM, "%s: %m", name);
	l->cache = c;
	l->size = d->size;
	l->sector_size = d->sector_size;
	l->data = d->data;
	l->written = d->from > 0; /* what was written before was folded */
	l->owned = owner;
	pthread_mutex_init(&l->turn, NULL);
	pthread_mutex_init(&l->lock, NULL);
	l->name = strdup(name);
	err = l->name ? overlay_new(&l->active) : -ENOMEM;
	if (err == 0)
		err = side_new(&l->side);
	if (err < 0)
		fail(-err, "%s: %m", name);
	if (err == 0)
		err = root_new(l, &d->root, &l->root);
	if (err == 0)
		err = owner ? stream_open(s, &d->stream, d->from, owner, replay,
				      l, &l->stream)
			    : stream_peek(s, &d->stream, d->from, replay, l,
				      &l->stream);
	if (err < 0)
		live_close(l);
	else
		*ret = l;
	return err;
}

void live_close(struct live *l)
{
	if (l->stream)
		stream_close(l->stream);
	if (l->root)
		root_put(l, l->root);
	if (l->frozen)
		overlay_free(l->frozen);
	if (l->active)
		overlay_free(l->active);
	if (l->side)
		side_free(l->side);
	pthread_mutex_destroy(&l->lock);
	pthread_mutex_destroy(&l->turn);
	free(l->name);
	free(l);
}

uint64_t live_size(const struct live *l)
{
	return l->size;
}

uint32_t live_sector_size(const struct live *l)
{
	return l->sector_size;
}

static int add_copy(
	struct live *l, uint64_t place, uint32_t len, struct pieces *p)
{
	uint8_t *buf = malloc(len);
	int err;

	if (!buf || vec_reserve(p, 1) < 0) {
		free(buf);
		return fail(ENOMEM, "%s: %m", l->name);
	}
	err = stream_read(l->stream, place, buf, len);
	if (err < 0) {
		free(buf);
		return err == -ENOENT ? -EAGAIN : err;
	}
	p->v[p->n++] = (struct piece){ .data = buf, .owned = buf, .len = len };
	return 0;
}

static int add_pieces(struct pieces *p, struct pieces *more)
{
	if (vec_reserve(p, more->n) < 0) {
		pieces_fini(more);
		return fail(ENOMEM, "read: %m");
	}
	for (size_t i = 0; i < more->n; i++)
		p->v[p->n++] = more->v[i];
	vec_fini(more);
	return 0;
}

static int read_one(struct live *l, struct disk *root, const struct where *w,
	uint64_t off, uint32_t len, struct pieces *p)
{
	struct pieces more;
	int err;

	if (w->place == PLACE_ZERO)
		return vec_add(p, (struct piece){ .len = len });
	if (w->place != PLACE_NONE)
		return add_copy(l, w->place + off % PAGE_LEN, len, p);
	err = disk_read(root, off, len, &more);
	return err < 0 ? err : add_pieces(p, &more);
}

static int try_read(
	struct live *l, uint64_t off, uint32_t len, struct pieces *p)
{
	uint64_t end = off + len;
	int err = 0;

	while (err == 0 && off < end) {
		uint64_t page = off / PAGE_LEN;
		uint64_t pages = round_up(end, PAGE_LEN) / PAGE_LEN - page;
		struct root *root;
		struct where w;
		uint64_t to;

		pthread_mutex_lock(&l->lock);
		w = look(l, page, pages);
		root = l->root;
		root->n_refs++;
		pthread_mutex_unlock(&l->lock);
		to = MIN_OF((page + w.pages) * PAGE_LEN, end);
		err = read_one(l, root->disk, &w, off, (uint32_t)(to - off), p);
		root_put(l, root);
		off = to;
	}
	return err;
}

int live_read(struct live *l, uint64_t off, uint32_t len, struct pieces *ret)
{
	struct pieces p = { 0 };
	int err;

	assert(off <= l->size && len <= l->size - off);
	/* a fold may let go of a place between our look and our read */
	while ((err = try_read(l, off, len, &p)) == -EAGAIN && l->owned)
		pieces_fini(&p);
	if (err == -EAGAIN)
		err = -ESTALE; /* the owner's did, and ours never will */
	if (err < 0)
		pieces_fini(&p);
	else
		*ret = p;
	return err;
}

void live_prefetch(struct live *l, uint64_t off, uint64_t len)
{
	struct root *root;

	pthread_mutex_lock(&l->lock);
	root = l->root;
	root->n_refs++;
	pthread_mutex_unlock(&l->lock);
	disk_prefetch(root->disk, off, len);
	root_put(l, root);
}

/* A page as it is now, before a part of it is written. */
static int page_now(struct live *l, uint64_t off, uint8_t *out)
{
	uint32_t len = (uint32_t)MIN_OF((uint64_t)PAGE_LEN, l->size - off);
	struct pieces p;
	int err;

	memset(out, 0, PAGE_LEN);
	err = live_read(l, off, len, &p);
	if (err < 0)
		return err;
	pieces_copy(&p, out);
	pieces_fini(&p);
	return 0;
}

/* Our turn. Whole pages are in BUF; of the edges a part is. */
static int append_pages(
	struct live *l, uint64_t off, uint32_t len, const uint8_t *buf)
{
	uint8_t head[PAGE_LEN], tail[PAGE_LEN], record[WRECORD_HEAD];
	uint64_t end = off + len;
	uint64_t first = round_down(off, PAGE_LEN);
	uint64_t last = round_up(end, PAGE_LEN);
	uint64_t mid = first, mid_end = last;
	const uint8_t *pages[WRECORD_PAGES_MAX];
	struct iovec iov[4] = { { record, sizeof(record) } };
	uint64_t seq, place, n = 0;
	int n_iov = 1, err = 0;

	if (off > first || end < first + PAGE_LEN) {
		err = page_now(l, first, head);
		mid = first + PAGE_LEN;
		memcpy(head + (off - first), buf, MIN_OF(mid, end) - off);
		iov[n_iov++] = (struct iovec){ head, PAGE_LEN };
		pages[n++] = head;
	}
	if (err == 0 && mid < last && end < last) {
		mid_end = last - PAGE_LEN;
		err = page_now(l, mid_end, tail);
		memcpy(tail, buf + (mid_end - off), end - mid_end);
	}
	if (err < 0)
		return err;
	if (mid < mid_end)
		iov[n_iov++] =
			(struct iovec){ (void *)(uintptr_t)(buf + (mid - off)),
				mid_end - mid };
	for (uint64_t at = mid; at < mid_end; at += PAGE_LEN)
		pages[n++] = buf + (at - off);
	if (mid_end < last) {
		iov[n_iov++] = (struct iovec){ tail, PAGE_LEN };
		pages[n++] = tail;
	}
	wrecord_write(
		&(struct wrecord){ .off = first, .len = last - first }, record);
	err = stream_append(l->stream, iov, n_iov, &seq, &place);
	return err < 0 ? err
		       : enter_data(l, first / PAGE_LEN, n, pages,
				 place + WRECORD_HEAD);
}

int live_write(struct live *l, uint64_t off, uint32_t len, const void *buf)
{
	int err;

	assert(len <= LIVE_WRITE_MAX && off <= l->size && len <= l->size - off);
	if (!l->owned)
		return -EROFS;
	if (len == 0)
		return 0;
	pthread_mutex_lock(&l->turn);
	err = append_pages(l, off, len, buf);
	pthread_mutex_unlock(&l->turn);
	return err;
}

/* Our turn; whole pages, or up to the end of the disk. */
static int append_zero(struct live *l, uint64_t off, uint64_t len)
{
	uint8_t record[WRECORD_HEAD];
	struct iovec iov = { record, sizeof(record) };
	uint64_t seq, place;

	wrecord_write(&(struct wrecord){ .kind = WRECORD_ZERO,
			      .off = off,
			      .len = round_up(len, PAGE_LEN) },
		record);
	return stream_append(l->stream, &iov, 1, &seq, &place);
}

static int zero_pages(struct live *l, uint64_t off, uint64_t len)
{
	uint64_t page = off / PAGE_LEN;
	uint64_t n = round_up(len, PAGE_LEN) / PAGE_LEN;
	int err;

	if (skip_holes(l, page, page + n) == page + n)
		return 0;
	err = append_zero(l, off, len);
	return err < 0 ? err : enter_zero(l, page, n);
}

static int zero_turn(struct live *l, uint64_t off, uint64_t len)
{
	static const uint8_t zeroes[PAGE_LEN];
	uint64_t end = off + len;
	uint64_t first = MIN_OF(round_up(off, PAGE_LEN), end);
	uint64_t last = end == l->size ? end : round_down(end, PAGE_LEN);
	int err = 0;

	if (off < first)
		err = append_pages(l, off, (uint32_t)(first - off), zeroes);
	if (err == 0 && first < last)
		err = zero_pages(l, first, last - first);
	if (err == 0 && MAX_OF(first, last) < end)
		err = append_pages(l, MAX_OF(first, last),
			(uint32_t)(end - MAX_OF(first, last)), zeroes);
	return err;
}

int live_zero(struct live *l, uint64_t off, uint64_t len)
{
	int err;

	assert(off <= l->size && len <= l->size - off);
	if (!l->owned)
		return -EROFS;
	if (len == 0)
		return 0;
	pthread_mutex_lock(&l->turn);
	err = zero_turn(l, off, len);
	pthread_mutex_unlock(&l->turn);
	return err;
}

struct side *live_side(struct live *l)
{
	return l->side;
}

/* Our turn. */
static int append_side(void *arg, const struct wrecord *r, const uint8_t *data)
{
	struct live *l = arg;
	uint8_t record[WRECORD_HEAD];
	struct iovec iov[2] = { { record, sizeof(record) },
		{ (void *)(uintptr_t)data, r->len } };
	uint64_t seq, place;

	wrecord_write(r, record);
	return stream_append(
		l->stream, iov, r->kind == WRECORD_DATA ? 2 : 1, &seq, &place);
}

int live_write_side(
	struct live *l, const struct wrecord *r, const uint8_t *data)
{
	int err;

	assert(r->space != WRECORD_DISK && r->kind != WRECORD_ZERO &&
		(r->kind != WRECORD_DATA ||
			(r->len > 0 && r->len <= WRECORD_SIDE_MAX)));
	if (!l->owned)
		return -EROFS;
	pthread_mutex_lock(&l->turn);
	if (r->kind == WRECORD_DATA && !side_fits(l->side, r->len))
		err = fail(EIO,
			"%s: views of it keep as much metadata as they "
			"may: %u bytes",
			l->name, SIDE_MAX);
	else
		err = side_reserve(l->side, r);
	if (err == 0)
		err = append_side(l, r, data);
	if (err == 0)
		note_side(l, r, data);
	pthread_mutex_unlock(&l->turn);
	return err;
}

int live_sync(struct live *l)
{
	return l->owned ? stream_sync(l->stream) : 0;
}

int live_extent(
	struct live *l, uint64_t off, uint64_t end, struct blk_extent *ret)
{
	uint64_t page = off / PAGE_LEN;
	uint64_t pages = round_up(end, PAGE_LEN) / PAGE_LEN - page;
	struct root *root;
	struct where w;
	struct run run;
	int err = 0;

	assert(off < end && end <= l->size);
	pthread_mutex_lock(&l->lock);
	w = look(l, page, pages);
	root = l->root;
	root->n_refs++;
	pthread_mutex_unlock(&l->lock);
	end = MIN_OF((page + w.pages) * PAGE_LEN, end);
	if (w.place != PLACE_NONE) {
		ret->kind = w.place == PLACE_ZERO ? BLK_ZERO : BLK_DATA;
		ret->len = end - off;
	} else {
		err = disk_run(root->disk, off, end, &run);
		if (err == 0)
			*ret = (struct blk_extent){ .len = run.len,
				.kind = run.kind };
	}
	root_put(l, root);
	return err;
}

uint64_t live_data(struct live *l)
{
	uint64_t data;

	pthread_mutex_lock(&l->lock);
	data = l->data;
	pthread_mutex_unlock(&l->lock);
	return data;
}

bool live_written(struct live *l)
{
	bool written;

	pthread_mutex_lock(&l->lock);
	written = l->written;
	pthread_mutex_unlock(&l->lock);
	return written;
}

struct live_load live_load(struct live *l)
{
	struct live_load load = { .stream_bytes = stream_bytes(l->stream) };

	pthread_mutex_lock(&l->lock);
	load.memory = overlay_stats(l->active).bytes;
	if (l->frozen)
		load.memory += overlay_stats(l->frozen).bytes;
	pthread_mutex_unlock(&l->lock);
	return load;
}

void live_hold(struct live *l)
{
	pthread_mutex_lock(&l->turn);
}

void live_unhold(struct live *l)
{
	pthread_mutex_unlock(&l->turn);
}

int live_freeze(struct live *l)
{
	struct overlay *fresh;
	int ret = 1;

	pthread_mutex_lock(&l->lock);
	if (!l->frozen) {
		ret = overlay_stats(l->active).n_pages > 0 || l->side_noted;
		if (ret && overlay_new(&fresh) < 0)
			ret = -ENOMEM;
		if (ret == 1) {
			l->frozen = l->active;
			l->active = fresh;
			l->cut = stream_next(l->stream);
			l->cut_data = l->data;
			l->side_noted = false;
		}
	}
	pthread_mutex_unlock(&l->lock);
	return ret < 0 ? fail(-ret, "%s: %m", l->name) : ret;
}

const struct overlay *live_frozen(struct live *l)
{
	const struct overlay *o;

	pthread_mutex_lock(&l->lock);
	o = l->frozen;
	pthread_mutex_unlock(&l->lock);
	return o;
}

struct disk *live_root(struct live *l)
{
	struct disk *d;

	pthread_mutex_lock(&l->lock);
	d = l->root->disk;
	pthread_mutex_unlock(&l->lock);
	return d;
}

uint64_t live_cut(const struct live *l)
{
	return l->cut;
}

uint64_t live_cut_data(const struct live *l)
{
	return l->cut_data;
}

int live_read_frozen(struct live *l, uint64_t off, uint32_t len, uint8_t *buf)
{
	const struct overlay *frozen = live_frozen(l);
	struct disk *root = live_root(l);
	uint64_t end = off + len;
	int err = 0;

	while (err == 0 && off < end) {
		uint64_t page = off / PAGE_LEN;
		uint64_t pages = round_up(end, PAGE_LEN) / PAGE_LEN - page;
		struct pieces p = { 0 };
		struct where w;
		uint64_t to;

		w.pages = overlay_run(frozen, page, pages, &w.place);
		to = MIN_OF((page + w.pages) * PAGE_LEN, end);
		err = read_one(l, root, &w, off, (uint32_t)(to - off), &p);
		if (err == 0)
			pieces_copy(&p, buf);
		pieces_fini(&p);
		buf += to - off;
		off = to;
	}
	return err;
}

/*
 * Pages of the frozen layer that nobody has overwritten since: what they hold
 * is appended again, so that the stream before the cut can go.
 */
static int carry_run(struct live *l, uint64_t page, uint64_t n, uint64_t place)
{
	uint8_t *buf;
	int err = 0;

	if (place == PLACE_ZERO) {
		err = append_zero(l, page * PAGE_LEN, bytes_of(l, page, n));
		/* the frozen layer that makes a hole of it will go */
		return err < 0 ? err : enter(l, page, n, PLACE_ZERO);
	}
	buf = malloc(n * PAGE_LEN);
	if (!buf)
		return fail(ENOMEM, "%s: %m", l->name);
	err = stream_read(l->stream, place, buf, n * PAGE_LEN);
	if (err == 0)
		err = append_pages(l, page * PAGE_LEN,
			(uint32_t)bytes_of(l, page, n), buf);
	free(buf);
	return err;
}

int live_carry(struct live *l, uint64_t window)
{
	uint64_t page = window * (WINDOW_LEN / PAGE_LEN);
	uint64_t end = page + WINDOW_LEN / PAGE_LEN;
	int err = 0;

	pthread_mutex_lock(&l->turn);
	while (err == 0 && page < end) {
		uint64_t above, place;
		uint64_t n = overlay_run(l->frozen, page, end - page, &place);

		n = MIN_OF(n, (uint64_t)LIVE_WRITE_MAX / PAGE_LEN);
		n = overlay_run(l->active, page, n, &above);
		if (place != PLACE_NONE && above == PLACE_NONE)
			err = carry_run(l, page, n, place);
		page += n;
	}
	pthread_mutex_unlock(&l->turn);
	return err;
}

int live_carry_side(struct live *l)
{
	int err;

	pthread_mutex_lock(&l->turn);
	err = side_visit(l->side, append_side, l);
	pthread_mutex_unlock(&l->turn);
	return err;
}

int live_thaw(struct live *l, const struct digest *root)
{
	struct overlay *done;
	struct root *fresh, *old;
	int err = root_new(l, root, &fresh);

	if (err < 0)
		return err;
	/* the new root is there before the pages over it go */
	pthread_mutex_lock(&l->lock);
	old = l->root;
	l->root = fresh;
	done = l->frozen;
	l->frozen = NULL;
	pthread_mutex_unlock(&l->lock);
	root_put(l, old);
	if (done)
		overlay_free(done);
	return stream_trim(l->stream, l->cut);
}

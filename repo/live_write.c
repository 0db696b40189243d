/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/live_write.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "repo/window.h"
#include "repo/wrecord.h"
#include "src/bytes.h"
#include "src/log.h"

/* Of a record that zeroes: 64 KiB. */
#define EXTENTS_MAX 4096u

/* Pages that are alike: those of a record that are all zero are holes from the
 * beginning, as the map that a fold makes of them has a hole there. */
struct stretch {
	uint64_t page, n;
	bool zero;
};

/*
 * Bytes in data extents among pages that are in the map: what leaves st_blocks
 * when they are written or zeroed.
 */
static uint64_t map_data(
	struct live *l, struct disk *d, uint64_t page, uint64_t n)
{
	uint64_t off = page * PAGE_LEN;
	uint64_t end = off + live_bytes(l, page, n);
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

/* Turn held, so that nobody else changes the active layer meanwhile. */
static uint64_t data_now(struct live *l, uint64_t page, uint64_t n)
{
	uint64_t data = 0;

	for (uint64_t end = page + n; page < end;) {
		struct root *root;
		struct where w = live_look(l, page, end - page, &root);

		if (root) {
			data += map_data(l, root->disk, page, w.pages);
			live_root_put(l, root);
		} else if (w.place != PLACE_ZERO) {
			data += live_bytes(l, page, w.pages);
		}
		page += w.pages;
	}
	return data;
}

/* Turn held. What live_data() will be when these are written. */
static uint64_t data_after(
	struct live *l, const struct stretch *s, size_t n_stretches)
{
	uint64_t data = l->data;

	for (size_t i = 0; i < n_stretches; i++) {
		uint64_t now = data_now(l, s[i].page, s[i].n);

		/* over damage nobody knows how much there was */
		data -= MIN_OF(data, now);
		if (!s[i].zero)
			data += live_bytes(l, s[i].page, s[i].n);
	}
	return MIN_OF(data, l->size);
}

/*
 * Enters into the active layer what is in the stream; PLACE is that of the
 * first stretch.
 */
static int enter(struct live *l, const struct stretch *s, size_t n_stretches,
	uint64_t place, uint64_t data)
{
	int err = 0;

	pthread_mutex_lock(&l->lock);
	for (size_t i = 0; err == 0 && i < n_stretches; i++) {
		uint64_t within = (s[i].page - s[0].page) * PAGE_LEN;

		err = overlay_set(l->active, s[i].page, s[i].n,
			s[i].zero ? PLACE_ZERO : place + within);
	}
	if (err == 0)
		l->data = data;
	l->written = true;
	pthread_mutex_unlock(&l->lock);
	return err < 0 ? fail(-err, "%s: %m", l->name) : 0;
}

static size_t stretches_of(uint64_t page, const uint8_t *const *pages, size_t n,
	struct stretch *ret)
{
	size_t n_stretches = 0;

	for (size_t i = 0; i < n; i++) {
		bool zero = is_zero(pages[i], PAGE_LEN);

		if (n_stretches == 0 || ret[n_stretches - 1].zero != zero)
			ret[n_stretches++] = (struct stretch){ .page = page + i,
				.zero = zero };
		ret[n_stretches - 1].n++;
	}
	return n_stretches;
}

static int replay_data(struct live *l, const struct wrecord *r,
	const uint8_t *payload, uint64_t place)
{
	struct stretch s[WRECORD_PAGES_MAX];
	const uint8_t *pages[WRECORD_PAGES_MAX];
	size_t n = r->len / PAGE_LEN;

	for (size_t i = 0; i < n; i++)
		pages[i] = payload + WRECORD_HEAD + i * PAGE_LEN;
	n = stretches_of(r->off / PAGE_LEN, pages, n, s);
	return enter(l, s, n, place + WRECORD_HEAD,
		r->kind == WRECORD_PAGES ? r->data : data_after(l, s, n));
}

/*
 * How many pages from PAGE on, up to N, are alike: a hole already, or not. Turn
 * held.
 */
static uint64_t hole_run(
	struct live *l, uint64_t page, uint64_t n, bool *ret_hole)
{
	struct root *root;
	struct where w = live_look(l, page, n, &root);
	uint64_t off = page * PAGE_LEN;
	struct run run;

	*ret_hole = w.place == PLACE_ZERO;
	if (!root)
		return w.pages;
	/* over a damaged map nothing is known to be one */
	if (disk_run(root->disk, off, off + live_bytes(l, page, w.pages),
		    &run) == 0) {
		*ret_hole = run.kind == BLK_ZERO;
		w.pages = round_up(run.len, PAGE_LEN) / PAGE_LEN;
	}
	live_root_put(l, root);
	return w.pages;
}

/* The first page from PAGE on that is no hole, or END. */
static uint64_t skip_holes(struct live *l, uint64_t page, uint64_t end)
{
	while (page < end) {
		bool hole;
		uint64_t n = hole_run(l, page, end - page, &hole);

		if (!hole)
			break;
		page += n;
	}
	return page;
}

/*
 * What of [page, end) is in windows that have any page there that is no hole: a
 * guest that makes a file system trims the whole disk first, which must cost
 * neither memory nor a fold. Returns where it got to.
 */
static uint64_t find_stretches(struct live *l, uint64_t page, uint64_t end,
	struct stretch *ret, size_t max, size_t *ret_n)
{
	size_t n = 0;

	while (n < max && (page = skip_holes(l, page, end)) < end) {
		uint64_t window = round_down(page, (uint64_t)WINDOW_PAGES);
		uint64_t to = MIN_OF(window + WINDOW_PAGES, end);

		if (n > 0 && ret[n - 1].page + ret[n - 1].n == page)
			ret[n - 1].n += to - page;
		else
			ret[n++] = (struct stretch){
				.page = page, .n = to - page, .zero = true
			};
		page = to;
	}
	*ret_n = n;
	return page;
}

/* Of version 0.1, which said nothing of how much was data then. */
static int replay_uncounted_zero(struct live *l, const struct wrecord *r)
{
	uint64_t page = r->off / PAGE_LEN, end = page + r->len / PAGE_LEN;
	struct stretch s;
	int err = 0;
	size_t n;

	while (err == 0 && page < end) {
		page = find_stretches(l, page, end, &s, 1, &n);
		if (n > 0)
			err = enter(l, &s, n, 0, data_after(l, &s, n));
	}
	return err;
}

static int replay_holes(struct live *l, const struct wrecord *r)
{
	int err = 0;

	for (uint32_t i = 0; err == 0 && i < r->n; i++) {
		uint64_t off, len;
		struct stretch s;

		wrecord_at(r, i, &off, &len);
		s = (struct stretch){ .page = off / PAGE_LEN,
			.n = len / PAGE_LEN,
			.zero = true };
		err = enter(l, &s, 1, 0, r->data);
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

static int replay_side(
	struct live *l, const struct wrecord *r, const uint8_t *payload)
{
	int err = side_reserve(l->side, r);

	if (err == 0)
		note_side(l, r, payload + WRECORD_HEAD);
	return err;
}

int live_replay(void *arg, uint64_t seq, uint64_t place, const uint8_t *payload,
	uint32_t len)
{
	struct live *l = arg;
	struct wrecord r;
	int err = wrecord_parse(payload, len, l->size, &r);

	if (err < 0)
		return fail(EBADMSG, "%s: record %" PRIu64 ": is damaged",
			l->name, seq);
	if (r.space != WRECORD_DISK)
		return replay_side(l, &r, payload);
	if (r.kind == WRECORD_HOLES)
		return replay_holes(l, &r);
	if (r.kind == WRECORD_ZERO)
		return replay_uncounted_zero(l, &r);
	return replay_data(l, &r, payload, place);
}

/* A page as it is now, before a part of it is written. */
static int page_now(struct live *l, uint64_t off, uint8_t *out)
{
	uint32_t len = (uint32_t)live_bytes(l, off / PAGE_LEN, 1);
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

/* The pages of a write, whole ones where they are, the edges completed. */
struct gathered {
	uint8_t head[PAGE_LEN], tail[PAGE_LEN], record[WRECORD_HEAD];
	struct iovec iov[4]; /* the record, then the pages */
	int n_iov;
	const uint8_t *pages[WRECORD_PAGES_MAX];
	size_t n;
};

static void add_pages(struct gathered *g, const uint8_t *bytes, size_t len)
{
	/* an iovec has no const, as readv(2) uses it too */
	g->iov[g->n_iov++] = (struct iovec){ (void *)(uintptr_t)bytes, len };
	for (size_t at = 0; at < len; at += PAGE_LEN)
		g->pages[g->n++] = bytes + at;
}

static int gather(struct live *l, uint64_t off, uint32_t len,
	const uint8_t *buf, struct gathered *g)
{
	uint64_t end = off + len;
	uint64_t first = round_down(off, PAGE_LEN);
	uint64_t last = round_up(end, PAGE_LEN);
	uint64_t mid = first, mid_end = last;
	int err = 0;

	g->iov[0] = (struct iovec){ g->record, sizeof(g->record) };
	g->n_iov = 1;
	g->n = 0;
	if (off > first || end < first + PAGE_LEN) {
		err = page_now(l, first, g->head);
		if (err < 0)
			return err;
		mid = first + PAGE_LEN;
		memcpy(g->head + (off - first), buf, MIN_OF(mid, end) - off);
		add_pages(g, g->head, PAGE_LEN);
	}
	if (mid < last && end < last) {
		mid_end = last - PAGE_LEN;
		err = page_now(l, mid_end, g->tail);
		if (err < 0)
			return err;
		memcpy(g->tail, buf + (mid_end - off), end - mid_end);
	}
	if (mid < mid_end)
		add_pages(g, buf + (mid - off), mid_end - mid);
	if (mid_end < last)
		add_pages(g, g->tail, PAGE_LEN);
	return 0;
}

int live_write_turn(
	struct live *l, uint64_t off, uint32_t len, const uint8_t *buf)
{
	struct stretch s[WRECORD_PAGES_MAX];
	struct gathered g;
	uint64_t seq, place, data, page = off / PAGE_LEN;
	size_t n;
	int err = gather(l, off, len, buf, &g);

	if (err < 0)
		return err;
	n = stretches_of(page, g.pages, g.n, s);
	data = data_after(l, s, n);
	wrecord_write(&(struct wrecord){ .kind = WRECORD_PAGES,
			      .data = data,
			      .off = page * PAGE_LEN,
			      .len = g.n * PAGE_LEN },
		g.record);
	err = stream_append(l->stream, g.iov, g.n_iov, &seq, &place);
	return err < 0 ? err : enter(l, s, n, place + WRECORD_HEAD, data);
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
	err = live_write_turn(l, off, len, buf);
	pthread_mutex_unlock(&l->turn);
	return err;
}

static int append_zeroes(struct live *l, const struct stretch *s, size_t n)
{
	scoped(freep) uint8_t *record =
		malloc(WRECORD_HEAD + n * WRECORD_EXTENT);
	uint64_t seq, place, data = data_after(l, s, n);
	struct iovec iov = { record, WRECORD_HEAD + n * WRECORD_EXTENT };
	int err = 0;

	if (!record)
		return fail(ENOMEM, "%s: %m", l->name);
	wrecord_write(&(struct wrecord){ .kind = WRECORD_HOLES, .data = data },
		record);
	for (size_t i = 0; i < n; i++)
		wrecord_extent(s[i].page * PAGE_LEN, s[i].n * PAGE_LEN,
			record + WRECORD_HEAD + i * WRECORD_EXTENT);
	err = stream_append(l->stream, &iov, 1, &seq, &place);
	return err < 0 ? err : enter(l, s, n, 0, data);
}

int live_zero_pages(struct live *l, uint64_t page, uint64_t n)
{
	struct stretch s = { .page = page, .n = n, .zero = true };

	return append_zeroes(l, &s, 1);
}

static int zero_whole_pages(struct live *l, uint64_t page, uint64_t end)
{
	scoped(freep) struct stretch *s = calloc(EXTENTS_MAX, sizeof(*s));
	int err = 0;
	size_t n;

	if (!s)
		return fail(ENOMEM, "%s: %m", l->name);
	do {
		page = find_stretches(l, page, end, s, EXTENTS_MAX, &n);
		if (n > 0)
			err = append_zeroes(l, s, n);
	} while (err == 0 && page < end);
	return err;
}

static int zero_turn(struct live *l, uint64_t off, uint64_t len)
{
	static const uint8_t zeroes[PAGE_LEN];
	uint64_t end = off + len;
	uint64_t first = MIN_OF(round_up(off, PAGE_LEN), end);
	uint64_t last = end == l->size ? end : round_down(end, PAGE_LEN);
	int err = 0;

	if (off < first)
		err = live_write_turn(l, off, (uint32_t)(first - off), zeroes);
	if (err == 0 && first < last)
		err = zero_whole_pages(l, first / PAGE_LEN,
			round_up(last, PAGE_LEN) / PAGE_LEN);
	if (err == 0 && MAX_OF(first, last) < end)
		err = live_write_turn(l, MAX_OF(first, last),
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

int live_append_side(void *arg, const struct wrecord *r, const uint8_t *data)
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

	assert(r->space != WRECORD_DISK && r->kind <= WRECORD_FORGET &&
		r->kind != WRECORD_ZERO &&
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
		err = live_append_side(l, r, data);
	if (err == 0)
		note_side(l, r, data);
	pthread_mutex_unlock(&l->turn);
	return err;
}

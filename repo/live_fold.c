/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/live_fold.h"

#include <errno.h>
#include <string.h>

#include "repo/live_write.h"
#include "repo/window.h"
#include "src/bytes.h"
#include "src/log.h"

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

uint64_t live_cut(const struct live *l)
{
	return l->cut;
}

int live_read_frozen(struct live *l, struct disk *root, uint64_t off,
	uint32_t len, uint8_t *buf)
{
	const struct overlay *frozen = live_frozen(l);
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
		err = live_read_one(l, root, &w, off, (uint32_t)(to - off), &p);
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

	/* the frozen layer that makes a hole of it will go */
	if (place == PLACE_ZERO)
		return live_zero_pages(l, page, n);
	buf = malloc(n * PAGE_LEN);
	if (!buf)
		return fail(ENOMEM, "%s: %m", l->name);
	err = stream_read(l->stream, place, buf, n * PAGE_LEN);
	if (err == 0)
		err = live_write_turn(l, page * PAGE_LEN,
			(uint32_t)live_bytes(l, page, n), buf);
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
	err = side_visit(l->side, live_append_side, l);
	pthread_mutex_unlock(&l->turn);
	return err;
}

int live_thaw(struct live *l, const struct digest *root)
{
	struct overlay *done;
	struct root *fresh, *old;
	int err = live_root_new(l, root, &fresh);

	if (err < 0)
		return err;
	/* the new root is there before the pages over it go */
	pthread_mutex_lock(&l->lock);
	old = l->root;
	l->root = fresh;
	done = l->frozen;
	l->frozen = NULL;
	pthread_mutex_unlock(&l->lock);
	live_root_put(l, old);
	if (done)
		overlay_free(done);
	return stream_trim(l->stream, l->cut);
}

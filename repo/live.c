/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/live.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "repo/chunk.h"
#include "repo/live_write.h"
#include "src/bytes.h"
#include "src/log.h"

/* To read what folds let go of just then. */
#define ATTEMPTS 100

void live_root_put(struct live *l, struct root *r)
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

int live_root_new(
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

struct where live_look(
	struct live *l, uint64_t page, uint64_t n, struct root **ret_root)
{
	struct root *root = NULL;
	struct where w;

	pthread_mutex_lock(&l->lock);
	w.pages = overlay_run(l->active, page, n, &w.place);
	if (w.place == PLACE_NONE && l->frozen)
		w.pages = overlay_run(l->frozen, page, w.pages, &w.place);
	if (w.place == PLACE_NONE) {
		root = l->root;
		root->n_refs++;
	}
	pthread_mutex_unlock(&l->lock);
	*ret_root = root;
	return w;
}

uint64_t live_bytes(const struct live *l, uint64_t page, uint64_t n)
{
	return MIN_OF((page + n) * PAGE_LEN, l->size) - page * PAGE_LEN;
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
	/* what was written before was folded */
	l->written = d->from > STREAM_FIRST;
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
		err = live_root_new(l, &d->root, &l->root);
	if (err == 0)
		err = owner ? stream_open(s, &d->stream, d->from, owner,
				      live_replay, l, &l->stream)
			    : stream_peek(s, &d->stream, d->from, live_replay,
				      l, &l->stream);
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
		live_root_put(l, l->root);
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

const char *live_name(const struct live *l)
{
	return l->name;
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

int live_read_one(struct live *l, struct disk *root, const struct where *w,
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
		struct where w = live_look(l, page, pages, &root);
		uint64_t to = MIN_OF((page + w.pages) * PAGE_LEN, end);

		err = live_read_one(l, root ? root->disk : NULL, &w, off,
			(uint32_t)(to - off), p);
		if (root)
			live_root_put(l, root);
		off = to;
	}
	return err;
}

int live_read(struct live *l, uint64_t off, uint32_t len, struct pieces *ret)
{
	struct pieces p = { 0 };
	int err = -EAGAIN;

	assert(off <= l->size && len <= l->size - off);
	/* a fold may let go of a place between our look and our read */
	for (int i = 0; i < ATTEMPTS; i++) {
		err = try_read(l, off, len, &p);
		if (err != -EAGAIN || !l->owned)
			break;
		pieces_fini(&p);
	}
	if (err == -EAGAIN)
		/* the owner's did, and ours never will */
		err = l->owned
			      ? fail(EIO, "%s: a file of its stream is missing",
					l->name)
			      : -ESTALE;
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
	live_root_put(l, root);
}

struct side *live_side(struct live *l)
{
	return l->side;
}

int live_sync(struct live *l)
{
	return l->owned ? stream_sync(l->stream) : 0;
}

void live_flush(struct live *l)
{
	stream_flush(l->stream);
}

int live_extent(
	struct live *l, uint64_t off, uint64_t end, struct blk_extent *ret)
{
	uint64_t page = off / PAGE_LEN;
	uint64_t pages = round_up(end, PAGE_LEN) / PAGE_LEN - page;
	struct root *root;
	struct where w;
	struct run run;
	int err;

	assert(off < end && end <= l->size);
	w = live_look(l, page, pages, &root);
	end = MIN_OF((page + w.pages) * PAGE_LEN, end);
	if (!root) {
		ret->kind = w.place == PLACE_ZERO ? BLK_ZERO : BLK_DATA;
		ret->len = end - off;
		return 0;
	}
	err = disk_run(root->disk, off, end, &run);
	if (err == 0)
		*ret = (struct blk_extent){ .len = run.len, .kind = run.kind };
	live_root_put(l, root);
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

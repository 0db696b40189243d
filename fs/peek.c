/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/peek.h"

#include <errno.h>
#include <stdio.h>

#include "src/log.h"

/* How often a disk is looked at anew before it is given up: each time somebody
 * must have folded it meanwhile, which takes longer than a look. */
#define ATTEMPTS 8

struct shot {
	struct live *live;
	unsigned n_refs; /* peek->lock */
};

int peek_open(struct cache *c, const struct clone *clone, size_t disk,
	struct live **ret)
{
	const struct clone_disk *d = &clone->disks.v[disk];
	scoped(freep) char *text = clone_text(clone);
	scoped(freep) char *name = NULL;

	if (!text || asprintf(&name, "%s/%s", text, d->name) < 0)
		return fail(ENOMEM, "clone: %m");
	log_hold();
	return clone_judge(
		cache_repo(c), clone, live_open(c, name, d, NULL, ret));
}

static int look(const struct peek *p, struct live **ret)
{
	int r = -ESTALE;

	for (int i = 0; r == -ESTALE && i < ATTEMPTS; i++) {
		struct clone c;

		r = clone_get(cache_repo(p->cache), &p->clone, &c);
		if (r < 0)
			return r;
		r = p->disk < c.disks.n ? peek_open(p->cache, &c, p->disk, ret)
					: -ENOENT;
		clone_fini(&c);
	}
	return r;
}

static int take_shot(const struct peek *p, struct shot **ret)
{
	struct shot *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return fail(ENOMEM, "clone: %m");
	s->n_refs = 1;
	r = look(p, &s->live);
	if (r < 0)
		free(s);
	else
		*ret = s;
	return r;
}

static void shot_free(struct shot *s)
{
	live_close(s->live);
	free(s);
}

static struct shot *shot_get(struct peek *p)
{
	struct shot *s;

	pthread_mutex_lock(&p->lock);
	s = p->shot;
	s->n_refs++;
	pthread_mutex_unlock(&p->lock);
	return s;
}

static void shot_put(struct peek *p, struct shot *s)
{
	bool last;

	pthread_mutex_lock(&p->lock);
	last = --s->n_refs == 0;
	pthread_mutex_unlock(&p->lock);
	if (last)
		shot_free(s);
}

int peek_init(
	struct peek *p, struct cache *c, const struct uuid *clone, size_t disk)
{
	int r;

	*p = (struct peek){ .cache = c, .clone = *clone, .disk = disk };
	r = take_shot(p, &p->shot);
	if (r < 0)
		return r;
	p->size = live_size(p->shot->live);
	p->sector_size = live_sector_size(p->shot->live);
	pthread_mutex_init(&p->lock, NULL);
	return 0;
}

void peek_fini(struct peek *p)
{
	shot_put(p, p->shot);
	pthread_mutex_destroy(&p->lock);
}

/* OLD shows what is no longer there; somebody may have noticed before us. */
static int again(struct peek *p, struct shot *old)
{
	struct shot *fresh;
	int r = take_shot(p, &fresh);

	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	if (live_size(fresh->live) != p->size) {
		/* the name is another clone's now */
		shot_free(fresh);
		return -ESTALE;
	}
	pthread_mutex_lock(&p->lock);
	if (p->shot == old) {
		p->shot = fresh;
		fresh = old;
	}
	pthread_mutex_unlock(&p->lock);
	shot_put(p, fresh);
	return 0;
}

/* Its stream was trimmed, or its map's chunks were collected. */
static bool is_outdated(int r)
{
	return r == -ESTALE || r == -ENOENT;
}

int peek_read(struct peek *p, uint64_t off, uint32_t len, struct pieces *ret)
{
	int r = 0, err = 0;

	for (int i = 0; err == 0 && i < ATTEMPTS; i++) {
		struct shot *s = shot_get(p);

		r = live_read(s->live, off, len, ret);
		if (is_outdated(r))
			err = again(p, s);
		shot_put(p, s);
		if (!is_outdated(r))
			return r;
	}
	return err < 0 ? err : r;
}

void peek_prefetch(struct peek *p, uint64_t off, uint64_t len)
{
	struct shot *s = shot_get(p);

	live_prefetch(s->live, off, len);
	shot_put(p, s);
}

int peek_extent(
	struct peek *p, uint64_t off, uint64_t end, struct blk_extent *ret)
{
	int r = 0, err = 0;

	for (int i = 0; err == 0 && i < ATTEMPTS; i++) {
		struct shot *s = shot_get(p);

		r = live_extent(s->live, off, end, ret);
		if (is_outdated(r))
			err = again(p, s);
		shot_put(p, s);
		if (!is_outdated(r))
			return r;
	}
	return err < 0 ? err : r;
}

void peek_read_side(
	struct peek *p, uint8_t space, uint64_t off, size_t len, uint8_t *buf)
{
	struct shot *s = shot_get(p);

	side_read(live_side(s->live), space, off, len, buf);
	shot_put(p, s);
}

bool peek_length(struct peek *p, uint8_t space, uint64_t *ret)
{
	struct shot *s = shot_get(p);
	bool has = side_length(live_side(s->live), space, ret);

	shot_put(p, s);
	return has;
}

bool peek_any(struct peek *p, uint8_t space, uint64_t off, uint64_t end)
{
	struct shot *s = shot_get(p);
	bool any = side_any(live_side(s->live), space, off, end);

	shot_put(p, s);
	return any;
}

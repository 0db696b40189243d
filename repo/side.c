/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/side.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "src/bytes.h"
#include "src/log.h"
#include "src/vec.h"

#define EXTENT_COST 64u /* of memory, beside its bytes */

struct extent {
	uint64_t off, len;
	uint8_t *data;
};
struct extents vec(struct extent); /* in order, none overlaps */

struct space {
	uint8_t number;
	bool has_length;
	uint64_t length;
	struct extents extents;
};

struct side {
	/* for moments; changed by one thread at a time, which need not hold it
	 * to look */
	pthread_mutex_t lock;
	struct vec(struct space) spaces; /* lock */
	uint64_t cost;                   /* lock */
	uint8_t *spare; /* of side_reserve(), for side_apply() */
};

int side_new(struct side **ret)
{
	struct side *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	*ret = s;
	return 0;
}

static void drop_extents(struct side *s, struct space *space)
{
	for (size_t i = 0; i < space->extents.n; i++) {
		s->cost -= space->extents.v[i].len + EXTENT_COST;
		free(space->extents.v[i].data);
	}
	space->extents.n = 0;
}

void side_free(struct side *s)
{
	for (size_t i = 0; i < s->spaces.n; i++) {
		drop_extents(s, &s->spaces.v[i]);
		vec_fini(&s->spaces.v[i].extents);
	}
	vec_fini(&s->spaces);
	pthread_mutex_destroy(&s->lock);
	free(s->spare);
	free(s);
}

bool side_fits(struct side *s, uint64_t len)
{
	bool fits;

	pthread_mutex_lock(&s->lock);
	fits = s->cost + len + EXTENT_COST <= SIDE_MAX;
	pthread_mutex_unlock(&s->lock);
	return fits;
}

bool side_is_empty(struct side *s)
{
	bool empty = true;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->spaces.n; i++)
		empty = empty && !s->spaces.v[i].has_length &&
			s->spaces.v[i].extents.n == 0;
	pthread_mutex_unlock(&s->lock);
	return empty;
}

/* NULL if nothing was ever kept there. */
static struct space *find(const struct side *s, uint8_t number)
{
	for (size_t i = 0; i < s->spaces.n; i++)
		if (s->spaces.v[i].number == number)
			return &s->spaces.v[i];
	return NULL;
}

/* The first extent that ends behind OFF. */
static size_t first_at(const struct extents *e, uint64_t off)
{
	size_t from = 0, to = e->n;

	while (from < to) {
		size_t mid = from + (to - from) / 2;

		if (e->v[mid].off + e->v[mid].len <= off)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

static int reserve(struct side *s, const struct wrecord *r)
{
	struct space *space = find(s, r->space);

	if (!space) {
		struct space fresh = { .number = r->space };

		if (vec_add(&s->spaces, fresh) < 0)
			return -ENOMEM;
		space = &s->spaces.v[s->spaces.n - 1];
	}
	if (r->kind != WRECORD_DATA)
		return 0;
	free(s->spare);
	s->spare = malloc(r->len);
	return s->spare ? vec_reserve(&space->extents, 1) : -ENOMEM;
}

int side_reserve(struct side *s, const struct wrecord *r)
{
	int err;

	pthread_mutex_lock(&s->lock);
	err = reserve(s, r);
	pthread_mutex_unlock(&s->lock);
	return err < 0 ? fail(ENOMEM, "metadata of a view: %m") : 0;
}

static void remove_extents(
	struct side *s, struct extents *e, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		s->cost -= e->v[i].len + EXTENT_COST;
		free(e->v[i].data);
	}
	if (from == to)
		return; /* there may be none at all */
	memmove(e->v + from, e->v + to, (e->n - to) * sizeof(*e->v));
	e->n -= to - from;
}

/*
 * Nothing of [off, end) is in an extent any more, none of which goes beyond it
 * at both ends. Returns where one would be that begins at OFF.
 */
static size_t cut_out(
	struct side *s, struct extents *e, uint64_t off, uint64_t end)
{
	size_t i = first_at(e, off), to;

	if (i < e->n && e->v[i].off < off) {
		s->cost -= e->v[i].off + e->v[i].len - off;
		e->v[i].len = off - e->v[i].off;
		i++;
	}
	to = first_at(e, end);
	if (to < e->n && e->v[to].off < end) {
		uint64_t cut = end - e->v[to].off;

		e->v[to].len -= cut;
		e->v[to].off = end;
		memmove(e->v[to].data, e->v[to].data + cut, e->v[to].len);
		s->cost -= cut;
	}
	remove_extents(s, e, i, to);
	return i;
}

static void put(struct side *s, struct space *space, const struct wrecord *r,
	const uint8_t *data)
{
	struct extents *e = &space->extents;
	uint64_t end = r->off + r->len;
	size_t i = first_at(e, r->off);

	if (space->has_length)
		space->length = MAX_OF(space->length, end);
	if (i < e->n && e->v[i].off <= r->off &&
		e->v[i].off + e->v[i].len >= end) {
		memcpy(e->v[i].data + (r->off - e->v[i].off), data, r->len);
		return;
	}
	i = cut_out(s, e, r->off, end);
	memmove(e->v + i + 1, e->v + i, (e->n - i) * sizeof(*e->v));
	e->n++;
	e->v[i] = (struct extent){ r->off, r->len, take(s->spare) };
	memcpy(e->v[i].data, data, r->len);
	s->cost += r->len + EXTENT_COST;
}

static void set_length(struct side *s, struct space *space, uint64_t len)
{
	(void)cut_out(s, &space->extents, len, UINT64_MAX);
	space->has_length = true;
	space->length = len;
}

void side_apply(struct side *s, const struct wrecord *r, const uint8_t *data)
{
	struct space *space = find(s, r->space);

	assert(space && r->space != WRECORD_DISK);
	pthread_mutex_lock(&s->lock);
	switch (r->kind) {
	case WRECORD_DATA:
		put(s, space, r, data);
		break;
	case WRECORD_LENGTH:
		set_length(s, space, r->len);
		break;
	case WRECORD_FORGET:
		drop_extents(s, space);
		space->has_length = false;
		break;
	case WRECORD_ZERO:
	case WRECORD_PAGES:
	case WRECORD_HOLES:
		break;
	}
	pthread_mutex_unlock(&s->lock);
}

static void read_space(
	const struct space *space, uint64_t off, size_t len, uint8_t *buf)
{
	const struct extents *e = &space->extents;
	uint64_t end = off + len;

	if (space->has_length)
		memset(buf, 0, len);
	for (size_t i = first_at(e, off); i < e->n && e->v[i].off < end; i++) {
		const struct extent *x = &e->v[i];
		uint64_t from = MAX_OF(off, x->off);
		uint64_t to = MIN_OF(end, x->off + x->len);

		memcpy(buf + (from - off), x->data + (from - x->off),
			to - from);
	}
}

void side_read(
	struct side *s, uint8_t space, uint64_t off, size_t len, uint8_t *buf)
{
	const struct space *found;

	pthread_mutex_lock(&s->lock);
	found = find(s, space);
	if (found)
		read_space(found, off, len, buf);
	pthread_mutex_unlock(&s->lock);
}

bool side_any(struct side *s, uint8_t space, uint64_t off, uint64_t end)
{
	const struct space *found;
	bool any = false;
	size_t i;

	pthread_mutex_lock(&s->lock);
	found = find(s, space);
	if (found) {
		i = first_at(&found->extents, off);
		any = i < found->extents.n && found->extents.v[i].off < end;
	}
	pthread_mutex_unlock(&s->lock);
	return any;
}

bool side_length(struct side *s, uint8_t space, uint64_t *ret)
{
	const struct space *found;
	bool has;

	pthread_mutex_lock(&s->lock);
	found = find(s, space);
	has = found && found->has_length;
	if (has)
		*ret = found->length;
	pthread_mutex_unlock(&s->lock);
	return has;
}

/* Extents that follow each other are one record, as far as that may go. */
static int visit_extents(
	const struct space *space, uint8_t *buf, side_visitor visit, void *arg)
{
	const struct extents *e = &space->extents;
	struct wrecord r = { .space = space->number };
	int err = 0;

	for (size_t i = 0; err == 0 && i < e->n; i++) {
		if (r.len && (e->v[i].off != r.off + r.len ||
				     r.len + e->v[i].len > WRECORD_SIDE_MAX)) {
			err = visit(arg, &r, buf);
			r.len = 0;
		}
		if (r.len == 0)
			r.off = e->v[i].off;
		memcpy(buf + r.len, e->v[i].data, e->v[i].len);
		r.len += e->v[i].len;
	}
	return err == 0 && r.len ? visit(arg, &r, buf) : err;
}

int side_visit(struct side *s, side_visitor visit, void *arg)
{
	scoped(freep) uint8_t *buf = NULL;
	int err = 0;

	if (side_is_empty(s))
		return 0;
	buf = malloc(WRECORD_SIDE_MAX);
	if (!buf)
		return fail(ENOMEM, "metadata of a view: %m");
	for (size_t i = 0; err == 0 && i < s->spaces.n; i++) {
		const struct space *space = &s->spaces.v[i];
		struct wrecord r = { .space = space->number,
			.kind = WRECORD_LENGTH,
			.len = space->length };

		if (space->has_length)
			err = visit(arg, &r, NULL);
		if (err == 0)
			err = visit_extents(space, buf, visit, arg);
	}
	return err;
}

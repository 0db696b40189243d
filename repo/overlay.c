/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows hang in a tree of three levels of 256, like a disk's map. Each has
 * its runs of pages, sorted, not overlapping: a sequential writer's megabyte is
 * one run, a scattered page is one, too.
 */
#include "repo/overlay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "repo/chunk.h"
#include "src/bytes.h"
#include "src/vec.h"

#define FAN 256u
#define PAGES (WINDOW_LEN / PAGE_LEN)

struct run {
	uint16_t page, n;
	uint32_t pad; /* zero */
	uint64_t place;
};

struct window {
	struct vec(struct run) runs;
	unsigned n_pages;
};

struct low {
	struct window *window[FAN];
};

struct mid {
	struct low *low[FAN];
};

struct overlay {
	struct mid *mid[FAN];
	struct overlay_stats stats;
};

int overlay_new(struct overlay **ret)
{
	struct overlay *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->stats.bytes = sizeof(*o);
	*ret = o;
	return 0;
}

static void low_free(struct low *l)
{
	for (unsigned i = 0; i < FAN; i++) {
		if (!l->window[i])
			continue;
		vec_fini(&l->window[i]->runs);
		free(l->window[i]);
	}
	free(l);
}

void overlay_free(struct overlay *o)
{
	for (unsigned i = 0; i < FAN; i++) {
		for (unsigned k = 0; o->mid[i] && k < FAN; k++)
			if (o->mid[i]->low[k])
				low_free(o->mid[i]->low[k]);
		free(o->mid[i]);
	}
	free(o);
}

static const struct window *find(const struct overlay *o, uint64_t number)
{
	const struct mid *m = o->mid[number >> 16 & 0xff];
	const struct low *l = m ? m->low[number >> 8 & 0xff] : NULL;

	return l && number >> 24 == 0 ? l->window[number & 0xff] : NULL;
}

static void *make(struct overlay *o, size_t size)
{
	void *p = calloc(1, size);

	if (p)
		o->stats.bytes += size;
	return p;
}

static struct window *find_or_make(struct overlay *o, uint64_t number)
{
	struct mid **m = &o->mid[number >> 16 & 0xff];
	struct low **l;
	struct window **w;

	if (!*m)
		*m = make(o, sizeof(**m));
	if (!*m)
		return NULL;
	l = &(*m)->low[number >> 8 & 0xff];
	if (!*l)
		*l = make(o, sizeof(**l));
	if (!*l)
		return NULL;
	w = &(*l)->window[number & 0xff];
	if (!*w) {
		*w = make(o, sizeof(**w));
		if (*w)
			o->stats.n_windows++;
	}
	return *w;
}

/* Number of the first run that ends behind PAGE. */
static size_t first_behind(const struct window *w, unsigned page)
{
	size_t lo = 0, hi = w->runs.n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct run *r = &w->runs.v[mid];

		if ((unsigned)r->page + r->n <= page)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static uint64_t place_at(const struct run *r, unsigned page)
{
	return r->place == PLACE_ZERO
		       ? PLACE_ZERO
		       : r->place + (uint64_t)(page - r->page) * PAGE_LEN;
}

static bool follows(const struct run *a, const struct run *b)
{
	return (unsigned)a->page + a->n == b->page &&
	       place_at(a, b->page) == b->place &&
	       (a->place == PLACE_ZERO) == (b->place == PLACE_ZERO);
}

/* Replaces runs [i, k) by the N in WITH. */
static void splice(
	struct window *w, size_t i, size_t k, const struct run *with, size_t n)
{
	memmove(w->runs.v + i + n, w->runs.v + k,
		(w->runs.n - k) * sizeof(*w->runs.v));
	if (n)
		memcpy(w->runs.v + i, with, n * sizeof(*with));
	w->runs.n = w->runs.n - (k - i) + n;
}

/* Pages [a, b) of a window. */
static int window_set(struct overlay *o, struct window *w, unsigned a,
	unsigned b, uint64_t place)
{
	struct run with[3];
	size_t cap = w->runs.cap, n = 0, k;
	size_t i = first_behind(w, a);
	unsigned had = 0;

	if (vec_reserve(&w->runs, 2) < 0)
		return -ENOMEM;
	o->stats.bytes += (w->runs.cap - cap) * sizeof(*w->runs.v);
	for (k = i; k < w->runs.n && w->runs.v[k].page < b; k++) {
		const struct run *r = &w->runs.v[k];
		unsigned end = (unsigned)r->page + r->n;

		had += MIN_OF(end, b) - MAX_OF((unsigned)r->page, a);
		if (r->page < a)
			with[n++] = (struct run){ .page = r->page,
				.n = (uint16_t)(a - r->page),
				.place = r->place };
	}
	with[n++] = (struct run){
		.page = (uint16_t)a, .n = (uint16_t)(b - a), .place = place
	};
	if (k > i) {
		const struct run *r = &w->runs.v[k - 1];
		unsigned end = (unsigned)r->page + r->n;

		if (end > b)
			with[n++] = (struct run){ .page = (uint16_t)b,
				.n = (uint16_t)(end - b),
				.place = place_at(r, b) };
	}
	splice(w, i, k, with, n);
	/* a writer that goes on makes its last run longer */
	if (i > 0 && follows(&w->runs.v[i - 1], &w->runs.v[i])) {
		w->runs.v[i - 1].n =
			(uint16_t)(w->runs.v[i - 1].n + w->runs.v[i].n);
		splice(w, i, i + 1, NULL, 0);
	}
	w->n_pages += b - a - had;
	o->stats.n_pages += b - a - had;
	return 0;
}

int overlay_set(struct overlay *o, uint64_t page, uint64_t n, uint64_t place)
{
	while (n) {
		unsigned a = (unsigned)(page % PAGES);
		unsigned len = (unsigned)MIN_OF(n, (uint64_t)(PAGES - a));
		struct window *w = find_or_make(o, page / PAGES);
		int r = w ? window_set(o, w, a, a + len, place) : -ENOMEM;

		if (r < 0)
			return r;
		page += len;
		n -= len;
		if (place != PLACE_ZERO)
			place += (uint64_t)len * PAGE_LEN;
	}
	return 0;
}

uint64_t overlay_run(
	const struct overlay *o, uint64_t page, uint64_t n, uint64_t *ret_place)
{
	uint64_t number = page / PAGES;
	const struct window *w = find(o, number);
	unsigned a = (unsigned)(page % PAGES);
	const struct run *r;
	uint64_t len;
	size_t i;

	if (!w) {
		uint64_t next = overlay_next_window(o, number);

		*ret_place = PLACE_NONE;
		return next == UINT64_MAX ? n : MIN_OF(n, next * PAGES - page);
	}
	i = first_behind(w, a);
	if (i == w->runs.n) {
		*ret_place = PLACE_NONE;
		len = PAGES - a;
	} else {
		r = &w->runs.v[i];
		*ret_place = r->page <= a ? place_at(r, a) : PLACE_NONE;
		len = r->page <= a ? (unsigned)r->page + r->n - a
				   : (unsigned)r->page - a;
	}
	return MIN_OF(n, len);
}

uint64_t overlay_get(const struct overlay *o, uint64_t page)
{
	uint64_t place;

	overlay_run(o, page, 1, &place);
	return place;
}

static uint64_t next_in_low(const struct low *l, unsigned from)
{
	for (unsigned i = from; i < FAN; i++)
		if (l->window[i])
			return i;
	return UINT64_MAX;
}

static uint64_t next_in_mid(const struct mid *m, unsigned from)
{
	for (unsigned i = from >> 8; i < FAN; i++) {
		uint64_t r;

		if (!m->low[i])
			continue;
		r = next_in_low(m->low[i], i == from >> 8 ? from & 0xff : 0);
		if (r != UINT64_MAX)
			return (uint64_t)i << 8 | r;
	}
	return UINT64_MAX;
}

uint64_t overlay_next_window(const struct overlay *o, uint64_t window)
{
	if (window >> 24)
		return UINT64_MAX;
	for (unsigned i = (unsigned)(window >> 16); i < FAN; i++) {
		uint64_t r;

		if (!o->mid[i])
			continue;
		r = next_in_mid(o->mid[i],
			i == window >> 16 ? (unsigned)(window & 0xffff) : 0);
		if (r != UINT64_MAX)
			return (uint64_t)i << 16 | r;
	}
	return UINT64_MAX;
}

unsigned overlay_window_pages(const struct overlay *o, uint64_t window)
{
	const struct window *w = find(o, window);

	return w ? w->n_pages : 0;
}

struct overlay_stats overlay_stats(const struct overlay *o)
{
	return o->stats;
}

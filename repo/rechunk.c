/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/rechunk.h"

#include <assert.h>
#include <string.h>

#include "src/bytes.h"

/*
 * The window as it was, in pieces: a chunk with a changed page is to be cut
 * anew as a whole; of zeroes and of lost pages, which may be long, only the
 * changed ones are.
 */
struct part {
	uint32_t off, end;
	bool anew;
	enum blk_kind kind;
	const struct digest *chunk;
};

#define PARTS_MAX (2 * LEAF_EXTENTS_MAX)

struct state {
	const struct rechunk *r;
	uint8_t *bytes;
	uint32_t loaded; /* bytes [from where we began, loaded) are there */
	uint64_t n_read;
	uint32_t n;
	struct part v[PARTS_MAX];
};

static bool any_changed(const struct page_set *s, uint32_t off, uint32_t end)
{
	for (uint32_t p = off / PAGE_LEN; p * PAGE_LEN < end; p++)
		if (page_in(s, p))
			return true;
	return false;
}

static void add_part(struct state *s, struct part p)
{
	assert(s->n < PARTS_MAX && p.off < p.end);
	s->v[s->n++] = p;
}

/* Zeroes or lost pages: changed runs and unchanged ones. */
static void split(
	struct state *s, uint32_t off, uint32_t end, enum blk_kind kind)
{
	const struct page_set *changed = s->r->changed;

	while (off < end) {
		bool anew = page_in(changed, off / PAGE_LEN);
		uint32_t to = off;

		while (to < end && page_in(changed, to / PAGE_LEN) == anew)
			to = MIN_OF((to / PAGE_LEN + 1) * PAGE_LEN, end);
		add_part(s, (struct part){ .off = off,
				    .end = to,
				    .anew = anew,
				    .kind = kind });
		off = to;
	}
}

static void make_parts(struct state *s)
{
	const struct rechunk *r = s->r;
	uint32_t at = 0;

	for (uint32_t i = 0; i < r->old->n && at < r->len; i++) {
		const struct leaf_extent *e = &r->old->v[i];
		uint32_t end = MIN_OF(e->off + e->len, r->len);

		if (e->kind != BLK_DATA)
			split(s, e->off, end, e->kind);
		else
			add_part(s, (struct part){ .off = e->off,
					    .end = end,
					    .anew = any_changed(
						    r->changed, e->off, end),
					    .kind = BLK_DATA,
					    .chunk = &e->chunk });
		at = end;
	}
	if (at < r->len)
		split(s, at, r->len, BLK_ZERO);
}

static int load(struct state *s, uint32_t end)
{
	int err;

	if (end <= s->loaded)
		return 0;
	err = s->r->read(
		s->r->arg, s->loaded, end - s->loaded, s->bytes + s->loaded);
	if (err < 0)
		return err;
	s->n_read += end - s->loaded;
	s->loaded = end;
	return 0;
}

/* Where cutting from part I on must stop: before pages that stay lost. */
static uint32_t limit(const struct state *s, uint32_t i)
{
	while (i < s->n && (s->v[i].anew || s->v[i].kind != BLK_LOST))
		i++;
	return i < s->n ? s->v[i].off : s->r->len;
}

/*
 * How long the chunk at AT, in part I, is. No more is loaded than what it takes
 * to know: mostly the old chunk, whose last page still ends it. Unchanged
 * zeroes need not be looked at to end one.
 */
static int cut_chunk(
	struct state *s, uint32_t i, uint32_t at, uint32_t stop, size_t *ret_n)
{
	uint32_t max = MIN_OF(at + CHUNK_MAX, stop);
	const uint8_t *p = s->bytes + at;

	for (;;) {
		size_t have = MIN_OF(s->loaded, max) - at;
		size_t n = chunk_cut(p, have);
		int err;

		*ret_n = n;
		if (n < have || n == max - at || chunk_ends(p, n))
			return 0;
		while (i < s->n && s->v[i].end <= s->loaded)
			i++;
		if (i == s->n || (!s->v[i].anew && s->v[i].kind == BLK_ZERO))
			return 0;
		err = load(s, MIN_OF(s->v[i].end, max));
		if (err < 0)
			return err;
	}
}

/* Cuts from the beginning of part I on; *ret_i is the one to go on with. */
static int cut(struct state *s, uint32_t i, struct leaf *leaf, uint32_t *ret_i)
{
	uint32_t stop = limit(s, i);
	uint32_t at = s->v[i].off;

	s->loaded = MAX_OF(s->loaded, at);
	while (at < stop) {
		struct digest d;
		uint32_t end;
		size_t n;
		int err;

		while (i < s->n && s->v[i].end <= at)
			i++;
		/* the cuts meet: what follows is as it was */
		if (at == s->v[i].off && !s->v[i].anew)
			break;
		end = MIN_OF(at + CHUNK_MAX, s->v[i].end);
		err = load(s, MIN_OF(end, stop));
		if (err < 0)
			return err;
		n = chunk_zeroes(
			s->bytes + at, MIN_OF(s->loaded, s->v[i].end) - at);
		if (n) {
			leaf_add(leaf, (uint32_t)n, BLK_ZERO, NULL);
		} else {
			err = cut_chunk(s, i, at, stop, &n);
			if (err < 0)
				return err;
			d = digest_of(s->bytes + at, n);
			leaf_add(leaf, (uint32_t)n, BLK_DATA, &d);
		}
		at += (uint32_t)n;
	}
	while (i < s->n && s->v[i].end <= at)
		i++;
	*ret_i = i;
	return 0;
}

int rechunk(const struct rechunk *r, uint8_t *bytes, struct leaf *ret,
	uint64_t *ret_read)
{
	scoped(freep) struct state *s = calloc(1, sizeof(*s));
	uint32_t i = 0;

	if (!s)
		return -ENOMEM;
	s->r = r;
	s->bytes = bytes;
	make_parts(s);
	ret->n = 0;
	while (i < s->n) {
		const struct part *p = &s->v[i];
		int err;

		if (p->anew) {
			err = cut(s, i, ret, &i);
			if (err < 0)
				return err;
			continue;
		}
		leaf_add(ret, p->end - p->off, p->kind, p->chunk);
		i++;
	}
	*ret_read = s->n_read;
	return 0;
}

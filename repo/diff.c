/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both trees are walked as if they were as high as the higher one: above its
 * root, a tree has its root on the path of slots 0 and nothing anywhere else.
 * Memory is two packed maps a level, and two unpacked leaves.
 */
#include "repo/diff.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "repo/map.h"
#include "src/bytes.h"
#include "src/log.h"

struct side {
	struct disk *disk;
	unsigned root_level;
	struct leaf leaf;
};

struct diff {
	struct side a, b;
	uint64_t common; /* bytes that both have */
	diff_visit visit;
	void *arg;
	uint64_t off, len; /* found, not visited yet; len 0: none */
	enum blk_kind kind;
};

static int flush(struct diff *d)
{
	uint64_t len = d->len;

	d->len = 0;
	return len ? d->visit(d->arg, d->off, len, d->kind) : 0;
}

/* Ranges come in order. */
static int found(struct diff *d, uint64_t off, uint64_t len, enum blk_kind kind)
{
	int r;

	if (d->len && d->off + d->len == off && d->kind == kind) {
		d->len += len;
		return 0;
	}
	r = flush(d);
	d->off = off;
	d->len = len;
	d->kind = kind;
	return r;
}

static int load(struct side *s, const struct digest *map, unsigned level,
	uint64_t off, struct cached **ret)
{
	int r = cache_map(s->disk->cache, map, level, ret);

	if (r < 0)
		return fail(-r, "%s: from byte %" PRIu64 " on: map: %m",
			s->disk->name, off);
	return 0;
}

static int load_leaf(struct side *s, const struct digest *map, uint64_t off)
{
	struct cached *packed;
	int r;

	s->leaf.n = 0;
	if (digest_is_none(map))
		return 0;
	r = load(s, map, 0, off, &packed);
	if (r < 0)
		return r;
	r = leaf_unpack(packed->data, packed->len, &s->leaf);
	cache_put(packed);
	return r;
}

/* The extent that holds WITHIN, I or a later one: zeroes behind the last. */
static struct leaf_extent extent_at(
	const struct leaf *l, uint32_t *i, uint32_t within)
{
	struct leaf_extent zeroes = {
		.off = within, .len = WINDOW_LEN - within, .kind = BLK_ZERO
	};

	while (*i < l->n && within >= l->v[*i].off + l->v[*i].len)
		++*i;
	return *i < l->n ? l->v[*i] : zeroes;
}

/* Two ranges that were lost are not known to differ. */
static bool same(const struct leaf_extent *a, const struct leaf_extent *b)
{
	if (a->kind != b->kind)
		return false;
	return a->kind != BLK_DATA ||
	       (a->off == b->off && digest_eq(&a->chunk, &b->chunk));
}

static int diff_leaves(struct diff *d, uint64_t off, const struct digest *a,
	const struct digest *b)
{
	uint32_t end = (uint32_t)MIN_OF((uint64_t)WINDOW_LEN, d->common - off);
	uint32_t ia = 0, ib = 0, next;
	int r = load_leaf(&d->a, a, off);

	if (r == 0)
		r = load_leaf(&d->b, b, off);
	for (uint32_t at = 0; r == 0 && at < end; at = next) {
		struct leaf_extent ea = extent_at(&d->a.leaf, &ia, at);
		struct leaf_extent eb = extent_at(&d->b.leaf, &ib, at);

		next = MIN_OF(ea.off + ea.len, eb.off + eb.len);
		next = MIN_OF(next, end);
		if (!same(&ea, &eb))
			r = found(d, off + at, next - at, eb.kind);
	}
	return r;
}

/* Child SLOT of the map of LEVEL at OFF; NODE is NULL where MAP is absent. */
static struct digest child_of(const struct side *s, const struct digest *map,
	const struct cached *node, unsigned level, unsigned slot)
{
	static const struct digest none;

	if (level > s->root_level)
		return slot == 0 ? *map : none;
	return node ? node_child(node->data, slot) : none;
}

static int open_node(struct side *s, const struct digest *map, unsigned level,
	uint64_t off, struct cached **ret)
{
	if (level > s->root_level || digest_is_none(map))
		return 0;
	return load(s, map, level, off, ret);
}

/* MAPs of LEVEL at OFF; above a root it is the root that stands for one. */
static int diff_maps(struct diff *d, unsigned level, uint64_t off,
	const struct digest *a, const struct digest *b)
{
	bool absent = digest_is_none(a) && digest_is_none(b);
	bool real = level <= d->a.root_level && level <= d->b.root_level;
	struct cached *node_a = NULL, *node_b = NULL;
	uint64_t below;
	int r;

	if (off >= d->common || absent || (real && digest_eq(a, b)))
		return 0;
	if (level == 0)
		return diff_leaves(d, off, a, b);
	below = (uint64_t)WINDOW_LEN << 8 * (level - 1);
	r = open_node(&d->a, a, level, off, &node_a);
	if (r == 0)
		r = open_node(&d->b, b, level, off, &node_b);
	for (unsigned i = 0; r == 0 && i < MAP_FAN; i++) {
		struct digest ca = child_of(&d->a, a, node_a, level, i);
		struct digest cb = child_of(&d->b, b, node_b, level, i);

		r = diff_maps(d, level - 1, off + i * below, &ca, &cb);
	}
	if (node_a)
		cache_put(node_a);
	if (node_b)
		cache_put(node_b);
	return r;
}

/* What one of them has beyond the other's end. */
static int diff_tails(struct diff *d)
{
	struct disk *b = d->b.disk;
	uint64_t off = d->common;
	struct run run;

	while (off < b->size) {
		int r = disk_run(b, off, b->size, &run);

		if (r == 0)
			r = found(d, off, run.len, run.kind);
		if (r != 0)
			return r;
		off += run.len;
	}
	if (d->a.disk->size > off)
		return found(d, off, d->a.disk->size - off, BLK_ZERO);
	return 0;
}

int diff_disks(struct disk *a, struct disk *b, diff_visit visit, void *arg)
{
	scoped(freep) struct diff *d = malloc(sizeof(*d));
	unsigned level;
	int r;

	if (!d)
		return fail(ENOMEM, "%s: compare: %m", b->name);
	d->a.disk = a;
	d->a.root_level = map_root_level(a->size);
	d->b.disk = b;
	d->b.root_level = map_root_level(b->size);
	d->common = MIN_OF(a->size, b->size);
	d->visit = visit;
	d->arg = arg;
	d->len = 0;
	level = MAX_OF(d->a.root_level, d->b.root_level);
	r = diff_maps(d, level, 0, &a->root, &b->root);
	if (r == 0)
		r = diff_tails(d);
	return r ? r : flush(d);
}

struct changed {
	uint64_t size;  /* of the disk */
	uint64_t until; /* windows before this are dealt with */
	uint64_t bytes;
};

static int add_changed(
	void *arg, uint64_t off, uint64_t len, enum blk_kind kind)
{
	struct changed *c = arg;
	uint64_t from = MAX_OF(round_down(off, WINDOW_LEN), c->until);
	uint64_t to = MIN_OF(round_up(off + len, WINDOW_LEN), c->size);

	(void)kind;
	if (from < to) {
		c->bytes += to - from;
		c->until = round_up(to, WINDOW_LEN);
	}
	return 0;
}

int diff_changed(struct disk *a, struct disk *b, uint64_t *ret)
{
	struct changed c = { .size = b->size };
	int r = diff_disks(a, b, add_changed, &c);

	if (r == 0)
		*ret = c.bytes;
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps without damage below them are remembered, so that a report reads each
 * map once, however many points share it, but for those on the way to damage.
 */
#include "repo/damage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "repo/fetch.h"
#include "repo/quarantine.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/log_many.h"

void damage_init(struct damage *d)
{
	memset(d, 0, sizeof(*d));
	pthread_mutex_init(&d->lock, NULL);
}

void damage_fini(struct damage *d)
{
	digest_set_fini(&d->chunks);
	digest_set_fini(&d->maps);
	pthread_mutex_destroy(&d->lock);
}

static struct digest_set *set_of(struct damage *d, enum coll coll)
{
	return coll == COLL_MAPS ? &d->maps : &d->chunks;
}

int damage_add(struct damage *d, enum coll coll, const struct digest *digest,
	unsigned flags)
{
	int r;

	pthread_mutex_lock(&d->lock);
	r = digest_set_add(set_of(d, coll), digest, (uint8_t)flags);
	pthread_mutex_unlock(&d->lock);
	return r < 0 ? r : 0;
}

static int recheck(struct digest_set *set, struct repo *r, enum coll coll)
{
	for (size_t i = 0; i < set->items.n; i++) {
		struct digest_flags *item = &set->items.v[i];
		struct key key = key_of(item->digest.b, sizeof(item->digest.b));
		bool there;
		int err;

		if (!(item->flags & DAMAGE_MISSING))
			continue;
		err = store_exists_many(r->store, coll, &key, 1, &there);
		if (err < 0)
			return err;
		if (there)
			item->flags &= (uint8_t)~DAMAGE_MISSING;
	}
	return 0;
}

int damage_recheck(struct damage *d, struct repo *r)
{
	int err = recheck(&d->chunks, r, COLL_CHUNKS);

	return err < 0 ? err : recheck(&d->maps, r, COLL_MAPS);
}

static bool any(const struct digest_set *set)
{
	for (size_t i = 0; i < set->items.n; i++)
		if (set->items.v[i].flags)
			return true;
	return false;
}

bool damage_any(const struct damage *d)
{
	return any(&d->chunks) || any(&d->maps);
}

static bool counts(const struct digest_flags *item)
{
	return (item->flags & DAMAGE_ANY_LEVEL) ||
	       ((item->flags & DAMAGE_MISSING) &&
		       (item->flags & DAMAGE_REACHED));
}

static int each(const struct digest_set *set, enum coll coll,
	int (*visit)(void *arg, enum coll coll, const struct digest *digest),
	void *arg)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < set->items.n; i++)
		if (counts(&set->items.v[i]))
			r = visit(arg, coll, &set->items.v[i].digest);
	return r;
}

int damage_each(const struct damage *d,
	int (*visit)(void *arg, enum coll coll, const struct digest *digest),
	void *arg)
{
	int r = each(&d->chunks, COLL_CHUNKS, visit, arg);

	return r ? r : each(&d->maps, COLL_MAPS, visit, arg);
}

static int count_one(void *arg, enum coll coll, const struct digest *digest)
{
	(void)coll;
	(void)digest;
	++*(uint64_t *)arg;
	return 0;
}

uint64_t damage_count(const struct damage *d)
{
	uint64_t n = 0;

	return damage_each(d, count_one, &n) < 0 ? 0 : n;
}

static void log_missing(
	const struct digest_set *set, struct repo *r, enum coll coll)
{
	static struct log_many missing = { .what = "missing documents" };

	for (size_t i = 0; i < set->items.n; i++) {
		const struct digest_flags *item = &set->items.v[i];
		char hex[DIGEST_HEX];

		if (counts(item) && (item->flags & DAMAGE_MISSING))
			(void)fail_many(&missing, ENOENT, "%s %.16s…: %s",
				fetch_noun(coll),
				digest_hex(&item->digest, hex),
				quarantine_was_damaged(r, &item->digest)
					? "was damaged and is set aside"
					: "is missing");
	}
}

uint64_t damage_log(const struct damage *d, struct repo *r)
{
	log_missing(&d->chunks, r, COLL_CHUNKS);
	log_missing(&d->maps, r, COLL_MAPS);
	return damage_count(d);
}

struct range {
	size_t disk;
	uint64_t off, len;
	enum coll coll;
	struct digest digest;
	bool missing;
};

struct walk {
	struct damage *damage;
	struct repo *repo;
	const _Atomic bool *cancel;
	struct fetcher *fetcher;
	struct digest_set clean[MAP_LEVELS_MAX];
	size_t disk; /* the one being walked, and its size */
	uint64_t size;
	struct vec(struct range) ranges; /* of one point or clone */
	uint8_t node[MAP_LEVELS_MAX][MAP_PACKED_MAX];
	struct leaf leaf;
};

/* Nothing lies behind the end of the disk, whatever its map says. */
static int add_range(struct walk *w, uint64_t off, uint64_t len, enum coll coll,
	const struct digest *digest, bool missing)
{
	struct range range = { .disk = w->disk,
		.off = off,
		.coll = coll,
		.digest = *digest,
		.missing = missing };

	if (off >= w->size)
		return 0;
	range.len = MIN_OF(len, w->size - off);
	return vec_add(&w->ranges, range) < 0 ? fail(ENOMEM, "damage: %m") : 0;
}

static int bad_map(struct walk *w, const struct digest *map, unsigned level,
	uint64_t off, bool missing)
{
	int r = add_range(w, off, (uint64_t)WINDOW_LEN << 8 * level, COLL_MAPS,
		map, missing);

	return r < 0 ? r : 1;
}

/* 1 if there is damage below, 0 if not; likewise all of these */
static int walk_leaf(struct walk *w, uint64_t off, uint32_t len)
{
	int r = leaf_unpack(w->fetcher->plain, len, &w->leaf);
	int dirty = 0;

	for (uint32_t i = 0; r == 0 && i < w->leaf.n; i++) {
		const struct leaf_extent *e = &w->leaf.v[i];
		const struct digest_flags *bad =
			e->kind == BLK_DATA
				? digest_set_find(&w->damage->chunks, &e->chunk)
				: NULL;

		if (!bad || !bad->flags)
			continue;
		dirty = 1;
		r = add_range(w, off + e->off, e->len, COLL_CHUNKS, &e->chunk,
			bad->flags & DAMAGE_MISSING);
	}
	return r < 0 ? r : dirty;
}

static int walk_map(
	struct walk *w, const struct digest *map, unsigned level, uint64_t off);

static int walk_node(struct walk *w, unsigned level, uint64_t off, uint32_t len)
{
	uint64_t below = (uint64_t)WINDOW_LEN << 8 * (level - 1);
	int dirty = 0;

	memcpy(w->node[level], w->fetcher->plain, len);
	for (unsigned i = 0; i < MAP_FAN; i++) {
		struct digest child = node_child(w->node[level], i);
		int r = walk_map(w, &child, level - 1, off + i * below);

		if (r < 0)
			return r;
		dirty |= r;
	}
	return dirty;
}

static int walk_map(
	struct walk *w, const struct digest *map, unsigned level, uint64_t off)
{
	const struct digest_flags *bad = digest_set_find(&w->damage->maps, map);
	uint32_t len;
	int r;

	if (w->cancel && *w->cancel)
		return -ECANCELED;
	if (digest_is_none(map) || digest_set_find(&w->clean[level], map))
		return 0;
	if (bad && bad->flags & (DAMAGE_MISSING | 1u << level))
		return bad_map(w, map, level, off, bad->flags & DAMAGE_MISSING);
	r = fetcher_get(w->fetcher, w->repo, COLL_MAPS, map, level, &len);
	if (r == -EBADMSG || r == -ENOENT) {
		bool missing = r == -ENOENT;

		/* it was there before: damaged or removed since */
		r = damage_add(w->damage, COLL_MAPS, map,
			missing ? DAMAGE_MISSING : 1u << level);
		return r < 0 ? r : bad_map(w, map, level, off, missing);
	}
	if (r < 0)
		return r;
	r = level ? walk_node(w, level, off, len) : walk_leaf(w, off, len);
	if (r != 0)
		return r;
	r = digest_set_add(&w->clean[level], map, 0);
	return r < 0 ? r : 0;
}

/* A disk by what it is walked by. */
static int walk_disk(
	struct walk *w, size_t disk, const struct digest *root, uint64_t size)
{
	int r;

	w->disk = disk;
	w->size = size;
	r = walk_map(w, root, map_root_level(size), 0);
	return r < 0 ? r : 0;
}

/* P or C is NULL. */
static int report_ranges(struct walk *w, const struct verify *job,
	const struct point *p, const struct clone *c)
{
	for (size_t i = 0; i < w->ranges.n; i++) {
		const struct range *range = &w->ranges.v[i];
		struct verify_damage d = {
			.point = p,
			.clone = c,
			.disk = p ? p->disks.v[range->disk].name
				  /* cppcheck-suppress nullPointer */
				  : c->disks.v[range->disk].name,
			.off = range->off,
			.len = range->len,
			.what = fetch_noun(range->coll),
			.digest = &range->digest,
			.why = range->missing &&
					       !quarantine_was_damaged(
						       w->repo, &range->digest)
				       ? "missing"
				       : "damaged",
		};
		int r = damage_add(
			w->damage, range->coll, &range->digest, DAMAGE_REACHED);

		if (r < 0)
			return r;
		if (job->damage)
			job->damage(job->arg, &d);
	}
	return 0;
}

static int report_point(struct walk *w, const struct verify *job,
	struct point *p, uint64_t *n_ranges)
{
	struct point again;
	int r = 0;

	w->ranges.n = 0;
	for (size_t i = 0; r == 0 && i < p->disks.n; i++)
		r = walk_disk(w, i, &p->disks.v[i].root, p->disks.v[i].size);
	if (r < 0 || w->ranges.n == 0)
		return r;
	/* removed while it was walked: that its chunks go is as it should be */
	r = point_get(w->repo, &p->id, &again);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	point_fini(&again);
	*n_ranges += w->ranges.n;
	return report_ranges(w, job, p, NULL);
}

/* 1: it was folded or dropped meanwhile, so what is missing may have to be. */
static int report_clone(struct walk *w, const struct verify *job,
	struct clone *c, uint64_t *n_ranges)
{
	struct clone again;
	bool same;
	int r = 0;

	w->ranges.n = 0;
	for (size_t i = 0; r == 0 && i < c->disks.n; i++)
		r = walk_disk(w, i, &c->disks.v[i].root, c->disks.v[i].size);
	if (r < 0 || w->ranges.n == 0)
		return r;
	r = clone_get(w->repo, &c->id, &again);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	same = again.version == c->version;
	clone_fini(&again);
	if (!same)
		return 1;
	*n_ranges += w->ranges.n;
	return report_ranges(w, job, NULL, c);
}

static int gone_is_well(int r)
{
	return r == -ENOENT || r == -EBADMSG ? 0 : r;
}

static int report_all(struct walk *w, const struct verify *job,
	const struct damage_users *users, uint64_t *n_ranges)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < users->points.n; i++) {
		struct point p;

		r = point_get(job->repo, &users->points.v[i], &p);
		if (r < 0) {
			r = gone_is_well(r);
			continue;
		}
		r = report_point(w, job, &p, n_ranges);
		point_fini(&p);
	}
	for (size_t i = 0; r == 0 && i < users->clones.n; i++) {
		do {
			struct clone c;

			r = clone_get(job->repo, &users->clones.v[i], &c);
			if (r < 0) {
				r = gone_is_well(r);
				break;
			}
			r = report_clone(w, job, &c, n_ranges);
			clone_fini(&c);
		} while (r == 1);
	}
	return r;
}

int damage_report(struct damage *d, const struct verify *job,
	const struct damage_users *users, uint64_t *ret_ranges)
{
	struct walk *w = calloc(1, sizeof(*w));
	int r;

	*ret_ranges = 0;
	if (!w)
		return fail(ENOMEM, "damage: %m");
	w->damage = d;
	w->repo = job->repo;
	w->cancel = job->cancel;
	r = fetcher_new(job->repo, &w->fetcher);
	if (r == 0)
		r = report_all(w, job, users, ret_ranges);
	if (w->fetcher)
		fetcher_free(w->fetcher);
	for (unsigned i = 0; i < MAP_LEVELS_MAX; i++)
		digest_set_fini(&w->clean[i]);
	vec_fini(&w->ranges);
	free(w);
	return r;
}

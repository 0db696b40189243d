/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/newest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "repo/fetch.h"
#include "repo/listing.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/monotonic.h"
#include "src/pool.h"

#define AT_ONCE 128u
#define SEEN_MAX (1u << 20)

struct leaves vec(struct digest);

/* What a thread has to itself. */
struct worker {
	struct leaf leaf;
	uint8_t packed[MAP_PACKED_MAX];
	struct keys keys; /* of a leaf's chunks that are to be read */
	struct doc docs[AT_ONCE];
	int errs[AT_ONCE];
};

struct walk {
	struct newest *job;
	time_t end; /* of monotonic.h; 0: none */
	_Atomic bool late;
	struct worker **workers;
	struct digest_set maps; /* that were met */
	struct leaves leaves;   /* of one point or clone, to be read */
	pthread_mutex_t lock;
	struct digest_set seen; /* lock: chunks */
};

/* 1: it is new. */
static int is_new_chunk(struct walk *w, const struct digest *d)
{
	int r;

	pthread_mutex_lock(&w->lock);
	if (w->seen.items.n >= SEEN_MAX)
		digest_set_fini(&w->seen);
	r = digest_set_add(&w->seen, d, 0);
	pthread_mutex_unlock(&w->lock);
	return r;
}

static int visit_one(
	struct walk *w, struct worker *k, size_t i, size_t at, unsigned thread)
{
	struct doc absent = { .coll = COLL_CHUNKS, .key = k->keys.v[at + i] };

	/* that it is missing others have found, or it was removed since */
	if (k->errs[i] == 0 && !k->docs[i].body)
		return 0;
	return w->job->visit(w->job->arg, k->errs[i] ? &absent : &k->docs[i],
		k->errs[i], thread);
}

static int read_keys(struct walk *w, struct worker *k, unsigned thread)
{
	int r = 0;

	for (size_t at = 0; r == 0 && at < k->keys.n; at += AT_ONCE) {
		size_t n = MIN_OF(k->keys.n - at, (size_t)AT_ONCE);

		r = store_get_many(w->job->repo->store, COLL_CHUNKS,
			k->keys.v + at, n, k->docs, k->errs);
		if (r < 0)
			return r;
		for (size_t i = 0; i < n; i++) {
			if (r == 0)
				r = visit_one(w, k, i, at, thread);
			if (k->errs[i] == 0)
				doc_fini(&k->docs[i]);
		}
	}
	return r;
}

static int read_leaf(void *arg, uint64_t i, unsigned thread)
{
	struct walk *w = arg;
	struct worker *k = w->workers[thread];
	uint32_t len;
	int r;

	if (w->job->cancel && *w->job->cancel)
		return -ECANCELED;
	if (w->end && (time_t)monotonic_seconds() >= w->end) {
		w->late = true;
		return 0;
	}
	r = map_load(w->job->repo, &w->leaves.v[i], 0, k->packed, &len);
	if (r == 0)
		r = leaf_unpack(k->packed, len, &k->leaf);
	if (r < 0)
		return r == -EBADMSG || r == -ENOENT ? 0 : r;
	k->keys.n = 0;
	for (uint32_t e = 0; r >= 0 && e < k->leaf.n; e++) {
		const struct digest *d = &k->leaf.v[e].chunk;

		if (k->leaf.v[e].kind != BLK_DATA || !w->job->parts[d->b[0]])
			continue;
		r = is_new_chunk(w, d);
		if (r > 0 && vec_add(&k->keys, key_of(d->b, sizeof(d->b))) < 0)
			r = fail(ENOMEM, "verify: %m");
	}
	return r < 0 ? r : read_keys(w, k, thread);
}

/* The leaves below MAP that were not met yet. */
static int gather(struct walk *w, const struct digest *map, unsigned level)
{
	uint8_t packed[MAP_PACKED_MAX];
	uint32_t len;
	int r;

	if (digest_is_none(map))
		return 0;
	r = digest_set_add(&w->maps, map, 0);
	if (r <= 0)
		return r;
	if (level == 0)
		return vec_add(&w->leaves, *map) < 0
			       ? fail(ENOMEM, "verify: %m")
			       : 0;
	r = map_load(w->job->repo, map, level, packed, &len);
	if (r < 0)
		return r == -EBADMSG || r == -ENOENT ? 0 : r;
	for (unsigned i = 0; r == 0 && i < MAP_FAN; i++) {
		struct digest child = node_child(packed, i);

		r = gather(w, &child, level - 1);
	}
	return r;
}

static int read_leaves(struct walk *w)
{
	int r = parallel_for(w->job->n_threads, w->leaves.n, read_leaf, w);

	w->leaves.n = 0;
	return r;
}

static int gone_is_well(int r)
{
	return r == -ENOENT || r == -EBADMSG ? 0 : r;
}

static int read_point(struct walk *w, const struct point_id *id)
{
	struct point p;
	int r = point_get(w->job->repo, id, &p);

	if (r < 0)
		return gone_is_well(r);
	for (size_t i = 0; r == 0 && i < p.disks.n; i++)
		r = gather(w, &p.disks.v[i].root,
			map_root_level(p.disks.v[i].size));
	point_fini(&p);
	if (r == 0)
		r = read_leaves(w);
	w->job->n_points += r == 0 && !w->late;
	return r;
}

static int read_clone(struct walk *w, const struct uuid *id)
{
	struct clone c;
	int r = clone_get(w->job->repo, id, &c);

	if (r < 0)
		return gone_is_well(r);
	for (size_t i = 0; r == 0 && i < c.disks.n; i++)
		r = gather(w, &c.disks.v[i].root,
			map_root_level(c.disks.v[i].size));
	clone_fini(&c);
	return r < 0 ? r : read_leaves(w);
}

static int later_first(const void *pa, const void *pb)
{
	const struct point_id *a = pa, *b = pb;

	if (a->time != b->time)
		return a->time > b->time ? -1 : 1;
	return memcmp(a, b, sizeof(*a));
}

static int walk_all(struct walk *w)
{
	const struct damage_users *users = w->job->users;
	size_t n = users->points.n;
	struct point_id *ids = calloc(n + 1, sizeof(*ids));
	int r = 0;

	if (!ids)
		return fail(ENOMEM, "verify: %m");
	if (n) {
		memcpy(ids, users->points.v, n * sizeof(*ids));
		qsort(ids, n, sizeof(*ids), later_first);
	}
	for (size_t i = 0; r == 0 && !w->late && i < n; i++)
		r = read_point(w, &ids[i]);
	for (size_t i = 0; r == 0 && !w->late && i < users->clones.n; i++)
		r = read_clone(w, &users->clones.v[i]);
	free(ids);
	return r;
}

static void walk_fini(struct walk *w)
{
	for (unsigned i = 0; w->workers && i < w->job->n_threads; i++)
		if (w->workers[i]) {
			vec_fini(&w->workers[i]->keys);
			free(w->workers[i]);
		}
	free(w->workers);
	digest_set_fini(&w->maps);
	digest_set_fini(&w->seen);
	vec_fini(&w->leaves);
	pthread_mutex_destroy(&w->lock);
}

int newest_walk(struct newest *job)
{
	struct walk w = { .job = job };
	int r = 0;

	job->n_points = 0;
	pthread_mutex_init(&w.lock, NULL);
	if (job->max_seconds)
		w.end = (time_t)monotonic_seconds() + (time_t)job->max_seconds;
	w.workers = calloc(job->n_threads, sizeof(struct worker *));
	if (!w.workers)
		r = fail(ENOMEM, "verify: %m");
	for (unsigned i = 0; r == 0 && i < job->n_threads; i++) {
		w.workers[i] = calloc(1, sizeof(struct worker));
		if (!w.workers[i])
			r = fail(ENOMEM, "verify: %m");
	}
	if (r == 0)
		r = walk_all(&w);
	walk_fini(&w);
	return r;
}

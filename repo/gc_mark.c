/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/gc_mark.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "repo/address.h"
#include "repo/condemned.h"
#include "repo/reach.h"
#include "src/log.h"
#include "src/text.h"

static struct digest digest_in(const struct key *key)
{
	struct digest d;

	memcpy(d.b, key->b, sizeof(d.b));
	return d;
}

static int mark_map(void *arg, const struct digest *map)
{
	struct gc_state *g = arg;

	if (gc_in_part(g, map))
		bloom_add(g->bloom, map);
	return 0;
}

static int mark_chunks(void *arg, const struct key *chunks, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct digest d = digest_in(&chunks[i]);
		int r = mark_map(arg, &d);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Not every range of it: whom it concerns. */
static void name_user(void *arg, const struct verify_damage *d)
{
	const void **last = arg;
	const void *user = d->point ? (const void *)d->point : d->clone;
	scoped(freep) char *clone = d->clone ? clone_text(d->clone) : NULL;
	char hex[DIGEST_HEX], when[32];

	if (*last == user)
		return;
	*last = user;
	if (d->point)
		log_error("%s@%s: its map %.16s… is %s", d->point->machine,
			time_text(d->point->id.time, when),
			digest_hex(d->digest, hex), d->why);
	else
		log_error("clone %s: its map %.16s… is %s", clone ? clone : "",
			digest_hex(d->digest, hex), d->why);
}

static int unreadable(struct gc_state *g, struct damage *damage,
	const struct damage_users *users)
{
	const void *last = NULL;
	const struct verify job = { .repo = g->repo,
		.cancel = g->job->cancel,
		.damage = name_user,
		.arg = &last };
	uint64_t n;
	int r = damage_report(damage, &job, users, &n);

	if (r < 0)
		return r;
	return fail(EBADMSG,
		"%s: maps cannot be read, so that what they need is not known, "
		"and nothing was removed: let hivefs verify move them aside "
		"and "
		"back the same disks up again, or remove those points, then "
		"run gc again",
		g->repo->url);
}

static bool any_unreadable(const struct damage *d)
{
	for (size_t i = 0; i < d->maps.items.n; i++)
		if (d->maps.items.v[i].flags & DAMAGE_ANY_LEVEL)
			return true;
	return false;
}

/* USERS is NULL where maps may be missing. */
static int traverse(struct gc_state *g, const struct gc_root_list *roots,
	const struct damage_users *users, const struct reach_visitor *visitor,
	uint64_t *ret_maps)
{
	static const struct damage_users nobody;
	struct reach *reach = NULL;
	struct damage damage;
	uint64_t n_chunks;
	int err;

	damage_init(&damage);
	err = reach_new(g->repo, g->n_threads, g->job->cancel, &damage, visitor,
		&reach);
	for (size_t i = 0; err == 0 && i < roots->n; i++)
		err = reach_add(reach, &roots->v[i].digest, roots->v[i].level);
	if (err == 0)
		err = reach_run(reach, ret_maps, &n_chunks);
	if (err == 0 && (users ? damage_any(&damage) : any_unreadable(&damage)))
		err = unreadable(g, &damage, users ? users : &nobody);
	if (reach)
		reach_free(reach);
	damage_fini(&damage);
	return err;
}

int gc_mark(struct gc_state *g, const struct gc_roots *r)
{
	const struct reach_visitor visitor = { .map = mark_map,
		.chunks = mark_chunks,
		.arg = g,
		.done = &g->progress->done };

	return traverse(g, &r->live, &r->users, &visitor, &g->result.n_maps);
}

struct saving {
	struct gc_state *g;
	pthread_mutex_t lock; /* of the result, and of what is idle */
};

/* 0 also if it was not condemned by us. */
static int save_one(struct saving *s, const struct key *key)
{
	struct digest d = digest_in(key);
	struct condemned c;
	int r;

	do {
		r = condemned_get(s->g->repo, &d, &c);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		if (c.generation != s->g->generation || c.sweeping)
			return 0;
		r = store_remove(
			s->g->repo->store, COLL_CONDEMNED, key, c.version);
	} while (r == -ESTALE);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	pthread_mutex_lock(&s->lock);
	s->g->result.n_saved++;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/* It is reached after all. */
static void keep_quarantined(struct saving *s, const struct key *key)
{
	struct digest d = digest_in(key);
	struct quarantined *q;

	pthread_mutex_lock(&s->lock);
	q = (struct quarantined *)(uintptr_t)quarantine_find(&s->g->idle, &d);
	if (q)
		q->version = 0;
	pthread_mutex_unlock(&s->lock);
}

#define AT_ONCE 256u

static int save(void *arg, const struct key *keys, size_t n)
{
	struct saving *s = arg;
	bool there[AT_ONCE];
	int r = 0;

	while (r == 0 && n > 0) {
		size_t now = n < AT_ONCE ? n : AT_ONCE;

		r = store_exists_many(
			s->g->repo->store, COLL_CONDEMNED, keys, now, there);
		for (size_t i = 0; r == 0 && i < now; i++) {
			if (there[i])
				r = save_one(s, &keys[i]);
			if (s->g->idle.n)
				keep_quarantined(s, &keys[i]);
		}
		keys += now;
		n -= now;
	}
	return r;
}

static int save_map(void *arg, const struct digest *map)
{
	struct key key = key_of(map->b, sizeof(map->b));

	return save(arg, &key, 1);
}

int gc_save(struct gc_state *g, const struct gc_roots *r)
{
	struct saving s = { .g = g };
	const struct reach_visitor visitor = { .map = save_map,
		.chunks = save,
		.arg = &s,
		.done = &g->progress->done };
	uint64_t n;
	int err;

	pthread_mutex_init(&s.lock, NULL);
	err = traverse(g, &r->live, &r->users, &visitor, &n);
	if (err == 0)
		err = traverse(g, &r->let_go, NULL, &visitor, &n);
	pthread_mutex_destroy(&s.lock);
	return err;
}

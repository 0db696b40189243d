/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/gc_roots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "repo/label.h"
#include "repo/listing.h"
#include "src/log.h"

void gc_roots_fini(struct gc_roots *r)
{
	for (size_t i = 0; i < r->clones.n; i++)
		vec_fini(&r->clones.v[i].gone);
	vec_fini(&r->live);
	vec_fini(&r->let_go);
	vec_fini(&r->points);
	vec_fini(&r->dead);
	vec_fini(&r->clones);
	vec_fini(&r->streams);
	vec_fini(&r->users.points);
	vec_fini(&r->users.clones);
}

/* A listing that is not seen to be whole is an error. */
static int list(struct gc_state *g, enum coll c, struct keys *ret)
{
	int r = listing_read(g->repo->store, c, ret);

	if (r == 1)
		return fail(EBUSY,
			"%s: are being changed all the time, so that no "
			"listing is known to be whole; run gc again later",
			coll_name(c));
	return r;
}

static int no_memory(void)
{
	return fail(ENOMEM, "gc: %m");
}

static int add_root(
	struct gc_root_list *to, const struct digest *root, uint64_t size)
{
	struct gc_root r = { .digest = *root, .level = map_root_level(size) };

	if (digest_is_none(root))
		return 0;
	return vec_add(to, r) < 0 ? no_memory() : 0;
}

static int unreadable(
	const struct gc_state *g, const struct point_id *id, int err)
{
	scoped(freep) char *text = point_naming(g->repo, id);
	char alias[ALIAS_LEN + 1];

	return fail(-err,
		"point %s: cannot be read, so that what it needs is not known, "
		"and nothing was removed: hivefs rm %s gives it up; then run "
		"gc again",
		text ? text : "?", point_alias(id, alias));
}

static int add_point(
	struct gc_state *g, const struct point_id *id, struct gc_roots *to)
{
	struct point p;
	int r = point_read(g->repo, id, &p);

	if (r < 0)
		return r == -ENOENT ? 0 : unreadable(g, id, r);
	for (size_t i = 0; r == 0 && i < p.disks.n; i++)
		r = add_root(&to->live, &p.disks.v[i].root, p.disks.v[i].size);
	if (r == 0 && vec_add(&to->users.points, *id) < 0)
		r = no_memory();
	point_fini(&p);
	return r;
}

/*
 * Removed ones are not even read. Where a copy was given up another one may
 * still publish: that place is looked at again, as if it had not been listed.
 */
static int first_point(
	struct gc_state *g, const struct point_id *id, struct gc_roots *to)
{
	struct point_place place;
	struct label l;
	int r = label_get(g->repo, id, &l);

	if (r == 0 && !l.removed)
		r = point_place(g->repo, id, &place);
	if (r == -EBADMSG)
		return add_point(g, id, to);
	if (r < 0)
		return r;
	if (!l.removed && place.state == POINT_FENCED)
		return 0;
	if (vec_add(&to->points, *id) < 0)
		return no_memory();
	if (!l.removed)
		return add_point(g, id, to);
	return vec_add(&to->dead, *id) < 0 ? no_memory() : 0;
}

static int order(const void *pa, const void *pb)
{
	struct key a = point_key(pa), b = point_key(pb);

	return memcmp(a.b, b.b, POINT_ID_LEN);
}

static bool was_listed(const struct gc_state *g, const struct point_id *id)
{
	const struct gc_roots *f = &g->first;

	return f->points.n && bsearch(id, f->points.v, f->points.n,
				      sizeof(*f->points.v), order);
}

static int each_point(struct gc_state *g, struct gc_roots *to,
	int (*fn)(struct gc_state *g, const struct point_id *id,
		struct gc_roots *to))
{
	struct keys keys = { 0 };
	int r = list(g, COLL_POINTS, &keys);

	for (size_t i = 0; r == 0 && i < keys.n; i++) {
		struct point_id id;

		r = point_key_parse(&keys.v[i], &id);
		if (r == 0)
			r = fn(g, &id, to);
		if (r == 0)
			r = gc_cancelled(g);
	}
	vec_fini(&keys);
	return r;
}

static int again_point(
	struct gc_state *g, const struct point_id *id, struct gc_roots *to)
{
	return was_listed(g, id) ? 0 : add_point(g, id, to);
}

static int add_clone(struct gc_roots *to, const struct clone *c)
{
	struct gc_clone seen = { .id = c->id };
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->disks.n; i++) {
		const struct clone_disk *d = &c->disks.v[i];

		r = add_root(&to->live, &d->root, d->size);
		if (r == 0 && vec_add(&to->streams, d->stream) < 0)
			r = no_memory();
	}
	for (size_t i = 0; r == 0 && i < c->retired.n; i++)
		if (vec_add(&seen.gone, c->retired.v[i]) < 0)
			r = no_memory();
	if (r == 0 && (vec_add(&to->clones, seen) < 0 ||
			      vec_add(&to->users.clones, c->id) < 0))
		r = no_memory();
	if (r < 0)
		vec_fini(&seen.gone);
	return r;
}

static const struct gc_clone *first_clone(
	const struct gc_state *g, const struct uuid *id)
{
	for (size_t i = 0; i < g->first.clones.n; i++)
		if (memcmp(&g->first.clones.v[i].id, id, sizeof(*id)) == 0)
			return &g->first.clones.v[i];
	return NULL;
}

static bool was_gone(
	const struct gc_clone *first, const struct retired_root *root)
{
	for (size_t i = 0; first && i < first->gone.n; i++)
		if (digest_eq(&first->gone.v[i].root, &root->root))
			return true;
	return false;
}

/* What it has let go of since the first listing is live in this collection. */
static int again_clone(
	struct gc_state *g, struct gc_roots *to, const struct clone *c)
{
	const struct gc_clone *first = first_clone(g, &c->id);
	int r = add_clone(to, c);

	for (size_t i = 0; r == 0 && i < c->retired.n; i++)
		if (!was_gone(first, &c->retired.v[i]))
			r = add_root(&to->let_go, &c->retired.v[i].root,
				c->retired.v[i].size);
	return r;
}

static int each_clone(struct gc_state *g, struct gc_roots *to, bool again)
{
	struct keys keys = { 0 };
	int r = list(g, COLL_CLONES, &keys);

	for (size_t i = 0; r == 0 && i < keys.n; i++) {
		struct uuid id;
		struct clone c;

		if (keys.v[i].len != sizeof(id.b)) {
			r = fail(EBADMSG, "clones: a damaged key");
			break;
		}
		memcpy(id.b, keys.v[i].b, sizeof(id.b));
		r = clone_read(g->repo, &id, &c);
		if (r < 0)
			break;
		r = again ? again_clone(g, to, &c) : add_clone(to, &c);
		clone_fini(&c);
	}
	vec_fini(&keys);
	/* their documents stay for good */
	return r == -ENOENT ? fail(EBADMSG, "clones: one is missing") : r;
}

int gc_roots_first(struct gc_state *g, struct gc_roots *ret)
{
	int r = each_point(g, ret, first_point);

	return r < 0 ? r : each_clone(g, ret, false);
}

int gc_roots_again(struct gc_state *g, struct gc_roots *ret)
{
	int r = each_point(g, ret, again_point);

	return r < 0 ? r : each_clone(g, ret, true);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "repo/label.h"
#include "repo/listing.h"
#include "repo/machine.h"
#include "repo/stream.h"
#include "repo/verify_state.h"
#include "repo/wrecord.h"
#include "src/log.h"

/* Keys as far as they can be listed; what is wrong with the listing counts. */
static int list(struct check *c, enum coll coll, struct keys *ret)
{
	int r = listing_read(c->job->repo->store, coll, ret);

	c->index_bad |= r == -EBADMSG;
	if (r == 1)
		log_warn("%s: being changed all the time, so their number was "
			 "not checked",
			coll_name(coll));
	return verify_count(c, r);
}

static int check_machines(struct check *c)
{
	struct keys keys = { 0 };
	int r = list(c, COLL_MACHINES, &keys);

	for (size_t i = 0; r == 0 && i < keys.n; i++) {
		char name[KEY_MAX + 1] = { 0 };
		struct uuid uuid;

		memcpy(name, keys.v[i].b, keys.v[i].len);
		if (strlen(name) != keys.v[i].len || !machine_name_ok(name))
			r = fail(EBADMSG, "machines: a damaged name");
		else
			r = machine_get(c->job->repo, name, &uuid);
		r = verify_count(c, r == -ENOENT ? 0 : r);
	}
	vec_fini(&keys);
	return r;
}

/* BAD gets the keys of labels, and so of points, that cannot be read. */
static int check_labels(struct check *c, struct keys *bad)
{
	struct keys keys = { 0 };
	int r = list(c, COLL_LABELS, &keys);

	for (size_t i = 0; r == 0 && i < keys.n; i++) {
		struct point_id id;
		struct label l;

		r = point_key_parse(&keys.v[i], &id);
		if (r == 0)
			r = label_get(c->job->repo, &id, &l);
		if (r == -EBADMSG && keys.v[i].len == POINT_ID_LEN &&
			vec_add(bad, keys.v[i]) < 0)
			r = fail(ENOMEM, "verify: %m");
		r = verify_count(c, r);
	}
	vec_fini(&keys);
	return r;
}

static int by_bytes(const void *a, const void *b)
{
	return memcmp(((const struct key *)a)->b, ((const struct key *)b)->b,
		POINT_ID_LEN);
}

/* KEYS as they were listed, so sorted; all of one length. */
static bool has_key(const struct keys *keys, const struct key *key)
{
	return keys->n &&
	       bsearch(key, keys->v, keys->n, sizeof(*key), by_bytes);
}

static int add_point(struct check *c, const struct point *p)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->disks.n; i++) {
		const struct point_disk *d = &p->disks.v[i];

		c->result.n_disks++;
		r = reach_add(c->reach, &d->root, map_root_level(d->size));
	}
	c->result.n_points++;
	if (r == 0 && vec_add(&c->users.points, p->id) < 0)
		r = fail(ENOMEM, "verify: %m");
	return r;
}

static void say_damaged(const struct check *c, const struct point_id *id)
{
	scoped(freep) char *text = point_naming(c->job->repo, id);
	char alias[ALIAS_LEN + 1];

	log_error("point %s: is damaged, and gc refuses to run until hivefs "
		  "rm %s gives it up",
		text ? text : "?", point_alias(id, alias));
}

static int check_points(struct check *c, const struct keys *bad_labels)
{
	struct keys keys = { 0 };
	int r = list(c, COLL_POINTS, &keys);

	for (size_t i = 0; r == 0 && i < keys.n; i++) {
		struct point_id id;
		struct point p;

		/* it would fail for its label, which has been counted */
		if (has_key(bad_labels, &keys.v[i]))
			continue;
		r = point_key_parse(&keys.v[i], &id);
		if (r == 0)
			r = point_get(c->job->repo, &id, &p);
		if (r == 0) {
			r = add_point(c, &p);
			point_fini(&p);
		} else if (r == -EBADMSG) {
			say_damaged(c, &id);
		}
		r = verify_count(c, r == -ENOENT ? 0 : r);
	}
	vec_fini(&keys);
	return r;
}

struct reading {
	const struct check *check;
	uint64_t size; /* of the disk */
};

static int check_record(void *arg, uint64_t seq, uint64_t place,
	const uint8_t *payload, uint32_t len)
{
	const struct reading *r = arg;
	struct wrecord record;

	(void)place;
	if (verify_cancelled(r->check))
		return -ECANCELED;
	if (wrecord_parse(payload, len, r->size, &record) == 0)
		return 0;
	return fail(EBADMSG, "record %" PRIu64 " of a stream: is damaged", seq);
}

/* -ESTALE, quietly: it was folded meanwhile. */
static int check_stream(
	struct check *c, const struct clone *clone, const struct clone_disk *d)
{
	struct reading reading = { .check = c, .size = d->size };
	struct verify_damage damage = { .clone = clone,
		.disk = d->name,
		.len = d->size,
		.what = "stream",
		.why = "damaged" };
	struct stream *st = NULL;
	int r;

	log_hold();
	r = stream_peek(c->job->repo->store, &d->stream, d->from, check_record,
		&reading, &st);
	if (st)
		stream_close(st);
	r = clone_judge(c->job->repo, clone, r);
	if (r != -EBADMSG)
		return r;
	c->result.n_damaged++;
	c->result.n_ranges++;
	if (c->job->damage)
		c->job->damage(c->job->arg, &damage);
	return 0;
}

static int check_clone(struct check *c, const struct uuid *id)
{
	struct clone clone;
	int r;

	do {
		r = clone_get(c->job->repo, id, &clone);
		if (r < 0)
			return r;
		for (size_t i = 0; r == 0 && i < clone.disks.n; i++) {
			const struct clone_disk *d = &clone.disks.v[i];

			r = reach_add(
				c->reach, &d->root, map_root_level(d->size));
			if (r == 0 && !c->job->metadata_only)
				r = check_stream(c, &clone, d);
		}
		clone_fini(&clone);
	} while (r == -ESTALE);
	c->result.n_clones++;
	if (r == 0 && vec_add(&c->users.clones, *id) < 0)
		r = fail(ENOMEM, "verify: %m");
	return r;
}

static int check_clones(struct check *c)
{
	struct keys keys = { 0 };
	int r = list(c, COLL_CLONES, &keys);

	for (size_t i = 0; r == 0 && i < keys.n; i++) {
		struct uuid id;

		if (keys.v[i].len != sizeof(id.b)) {
			r = verify_count(
				c, fail(EBADMSG, "clones: a damaged key"));
			continue;
		}
		memcpy(id.b, keys.v[i].b, sizeof(id.b));
		r = check_clone(c, &id);
		r = verify_count(c, r == -ENOENT ? 0 : r);
	}
	vec_fini(&keys);
	return r;
}

int verify_documents(struct check *c)
{
	struct keys bad_labels = { 0 };
	int r = check_machines(c);

	if (r == 0)
		r = check_labels(c, &bad_labels);
	if (r == 0)
		r = check_points(c, &bad_labels);
	if (r == 0)
		r = check_clones(c);
	vec_fini(&bad_labels);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/prune.h"

#include <bson/bson.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "repo/clock.h"
#include "repo/clone.h"
#include "repo/decode.h"
#include "repo/label.h"
#include "src/log.h"
#include "src/text.h"

static struct key policy_key(const struct uuid *machine)
{
	char name[16 + UUID_TEXT] = "policy", uuid[UUID_TEXT];

	if (machine)
		snprintf(name, sizeof(name), "policy:%s",
			uuid_text(machine, uuid));
	return key_of(name, strlen(name));
}

int policy_load(struct repo *r, const struct uuid *machine, struct policy *ret)
{
	struct key key = policy_key(machine);
	struct policy p = { 0 };
	struct decode in;
	struct doc d;
	char *tags;
	int err = store_get(r->store, COLL_META, &key, &d);

	if (err < 0)
		return err;
	decode_begin(&in, &d);
	p.last = (unsigned)decode_i32(&in, "last", 0, INT32_MAX);
	for (unsigned u = 0; u < POLICY_UNITS; u++)
		p.count[u] = (unsigned)decode_i32(
			&in, policy_unit_name(u), 0, INT32_MAX);
	p.within = decode_i64(&in, "within", 0, INT64_MAX);
	tags = decode_text(&in, "tags");
	if (tags && strlen(tags) <= POLICY_TAGS_MAX)
		memcpy(p.tags, tags, strlen(tags) + 1);
	free(tags);
	err = decode_end(&in, "policy");
	doc_fini(&d);
	if (err == 0)
		*ret = p;
	return err;
}

/* 0: there is none yet. */
static int policy_version(struct repo *r, const struct key *key, uint64_t *ret)
{
	struct doc d;
	int err = store_get(r->store, COLL_META, key, &d);

	*ret = 0;
	if (err < 0)
		return err == -ENOENT ? 0 : err;
	*ret = d.version;
	doc_fini(&d);
	return 0;
}

int policy_store(
	struct repo *r, const struct uuid *machine, const struct policy *p)
{
	struct key key = policy_key(machine);
	bson_t b = BSON_INITIALIZER;
	uint64_t version;
	struct doc d;
	int err;

	BSON_APPEND_INT32(&b, "last", (int32_t)p->last);
	for (unsigned u = 0; u < POLICY_UNITS; u++)
		BSON_APPEND_INT32(
			&b, policy_unit_name(u), (int32_t)p->count[u]);
	BSON_APPEND_INT64(&b, "within", p->within);
	BSON_APPEND_UTF8(&b, "tags", p->tags);
	do {
		err = policy_version(r, &key, &version);
		d = (struct doc){ .coll = COLL_META,
			.key = key,
			.version = version + 1,
			.body = bson_get_data(&b),
			.len = b.len };
		if (err == 0)
			err = version ? store_replace(r->store, &d, version)
				      : store_insert(r->store, &d);
	} while (err == -ESTALE || err == -EEXIST);
	bson_destroy(&b);
	return err < 0 ? err : store_sync(r->store);
}

struct list {
	const struct prune *job;
	struct vec(struct point_id) ids;
	struct vec(struct label) labels;
	struct vec(struct policy_point) points;
};

static int has_clone(struct repo *r, const struct point_id *id)
{
	struct uuid own = clone_own_id(id);
	struct clone c;
	int err = clone_get(r, &own, &c);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	clone_fini(&c);
	return 1;
}

static int visit_point(void *arg, const struct point *p)
{
	struct list *l = arg;
	struct policy_point at = { .time = p->id.time };
	struct label label;
	int r = label_get(l->job->repo, &p->id, &label);

	if (r == 0)
		r = has_clone(l->job->repo, &p->id);
	if (r < 0)
		return r;
	at.cloned = r;
	at.held = label.hold_until > l->job->now;
	if (vec_add(&l->ids, p->id) < 0 || vec_add(&l->labels, label) < 0 ||
		vec_add(&l->points, at) < 0)
		return fail(ENOMEM, "prune: %m");
	return 0;
}

/* Meanwhile it may have been removed, held, or written to. */
static int drop(const struct prune *job, struct policy_point *at,
	const struct point_id *id)
{
	int r = job->dry_run ? 0 : point_remove(job->repo, id);

	if (r == -EPERM) {
		at->keep = true;
		snprintf(at->why, sizeof(at->why), "cannot be removed now");
	}
	return r == -ENOENT || r == -EPERM ? 0 : r;
}

static int apply(struct list *l)
{
	const struct prune *job = l->job;
	int r = 0;

	for (size_t i = 0; i < l->points.n; i++)
		l->points.v[i].marks = l->labels.v[i].marks;
	policy_apply(job->policy, job->now, l->points.v, l->points.n);
	for (size_t i = 0; r == 0 && i < l->points.n; i++) {
		struct policy_point *at = &l->points.v[i];
		struct point p;

		/* read before it goes: the visit gets it as it was */
		r = point_get(job->repo, &l->ids.v[i], &p);
		if (r < 0) {
			r = r == -ENOENT ? 0 : r;
			continue;
		}
		if (!at->keep)
			r = drop(job, at, &l->ids.v[i]);
		if (r == 0)
			r = job->visit(job->arg, &p, at->keep, at->why);
		point_fini(&p);
	}
	return r;
}

int prune(const struct prune *job)
{
	struct list l = { .job = job };
	int r = job->dry_run ? 0 : repo_check_clock(job->repo);

	/* a damaged point may be the newest: nothing goes then */
	if (r == 0)
		r = point_list(
			job->repo, &job->machine, false, visit_point, &l);
	if (r == 0)
		r = apply(&l);
	vec_fini(&l.ids);
	vec_fini(&l.labels);
	vec_fini(&l.points);
	return r;
}

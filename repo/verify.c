/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "repo/damage.h"
#include "repo/fetch.h"
#include "repo/heal.h"
#include "repo/label.h"
#include "repo/listing.h"
#include "repo/machine.h"
#include "repo/newest.h"
#include "repo/part.h"
#include "repo/reach.h"
#include "repo/stamps.h"
#include "repo/stream.h"
#include "repo/wrecord.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/pool.h"

struct check {
	const struct verify *job;
	struct verify_result result;
	struct damage damage;
	struct reach *reach;
	struct damage_users users;
	unsigned n_threads;
	bool index_bad;                                    /* a listing is */
	struct fetcher **fetchers;                         /* one a thread */
	_Atomic uint64_t n_stored, n_chunks, bytes, n_odd; /* of step 4 */
	struct stamps stamps; /* of what has been verified now */
	struct part *part;    /* being verified, and when that began */
	int64_t begun;
};

static int cancelled(const struct check *c)
{
	return c->job->cancel && *c->job->cancel ? -ECANCELED : 0;
}

/* Passes on what is no damage; counts what is. */
static int count_damage(struct check *c, int r)
{
	if (r != -EBADMSG)
		return r < 0 ? r : 0;
	c->result.n_damaged++;
	return 0;
}

/* Keys as far as they can be listed; what is wrong with the listing counts. */
static int list(struct check *c, enum coll coll, struct keys *ret)
{
	int r = listing_read(c->job->repo->store, coll, ret);

	c->index_bad |= r == -EBADMSG;
	if (r == 1)
		log_warn("%s: being changed all the time, so their number was "
			 "not checked",
			coll_name(coll));
	return count_damage(c, r);
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
		r = count_damage(c, r == -ENOENT ? 0 : r);
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
		r = count_damage(c, r);
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
		r = count_damage(c, r == -ENOENT ? 0 : r);
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
	if (cancelled(r->check))
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
	int r = stream_peek(c->job->repo->store, &d->stream, d->from,
		check_record, &reading, &st);

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
			r = count_damage(
				c, fail(EBADMSG, "clones: a damaged key"));
			continue;
		}
		memcpy(id.b, keys.v[i].b, sizeof(id.b));
		r = check_clone(c, &id);
		r = count_damage(c, r == -ENOENT ? 0 : r);
	}
	vec_fini(&keys);
	return r;
}

static int check_documents(struct check *c)
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

static int visit_stored(
	void *arg, const struct doc *doc, int err, unsigned thread)
{
	struct check *c = arg;
	bool is_map = doc->coll == COLL_MAPS;
	struct digest want;
	uint32_t len;

	if (cancelled(c))
		return -ECANCELED;
	c->n_stored++;
	if (!is_map) {
		c->n_chunks++;
		c->bytes += doc->len;
		if (c->job->progress)
			c->job->progress->done += doc->len;
	}
	if (doc->key.len != sizeof(want.b)) {
		log_error("%s: a key of %u bytes", coll_name(doc->coll),
			doc->key.len);
		c->n_odd++;
		return 0;
	}
	memcpy(want.b, doc->key.b, sizeof(want.b));
	if (err == 0)
		err = fetcher_decode(
			c->fetchers[thread], &want, FETCH_ANY_LEVEL, doc, &len);
	if (err == -EBADMSG)
		return damage_add(&c->damage, doc->coll, &want,
			is_map ? DAMAGE_ANY_LEVEL : DAMAGE_CHUNK);
	return err;
}

/*
 * All that is stored, used or not. What the index does not lead to would not
 * be missed, so their number is compared unless it changed meanwhile.
 */
static int check_stored(struct check *c, enum coll coll)
{
	struct store *s = c->job->repo->store;
	struct store_count before, after;
	int r = store_count(s, coll, &before);

	c->n_stored = 0;
	if (r == 0)
		r = store_walk(s, coll, c->n_threads, visit_stored, c);
	/* it may have changed meanwhile */
	if (r == 0 && c->n_stored != before.n)
		r = store_count(s, coll, &after);
	if (r == 0 && c->n_stored != before.n && before.n == after.n &&
		before.sum[0] == after.sum[0] && before.sum[1] == after.sum[1])
		r = fail(EBADMSG,
			"%s: %" PRIu64 " were found, but the store counts "
			"%" PRIu64 ": run hivefs repair --index",
			coll_name(coll), (uint64_t)c->n_stored, before.n);
	c->index_bad |= r == -EBADMSG;
	return count_damage(c, r);
}

/* Which bytes of which disks it is, if it is anything. */
static int report(struct check *c)
{
	uint64_t n_ranges = 0;
	int r = damage_recheck(&c->damage, c->job->repo);

	if (r == 0 && damage_any(&c->damage))
		r = damage_report(&c->damage, c->job, &c->users, &n_ranges);
	c->result.n_ranges += n_ranges;
	return r;
}

static bool is_partial(const struct verify *job)
{
	return job->parts || job->older_than || job->max_seconds ||
	       job->newest_first;
}

/* DONE is NULL: all of them. */
static void stamp_parts(struct check *c, const bool *done)
{
	c->result.n_parts = 0;
	for (unsigned i = 0; i < STAMPS; i++) {
		if (done && !done[i])
			continue;
		c->stamps.time[i] = c->begun;
		c->result.n_parts++;
	}
}

/* When all of it was verified is worth knowing only if it can be written. */
static void save_stamps(struct check *c)
{
	scoped(repo_closep) struct repo *r = NULL;
	struct store_info info;

	if (!c->job->heal || c->job->metadata_only || c->index_bad ||
		c->result.n_parts == 0 ||
		store_info(c->job->repo->store, &info) < 0 || info.read_only)
		return;
	if (repo_open(c->job->repo->url, 0, &r) < 0 ||
		stamps_save(r, &c->stamps) < 0)
		log_warn("%s: when this was verified could not be noted",
			c->job->repo->url);
}

/*
 * So that one that is killed has not worked for nothing: the next one goes on
 * behind it. Damage is reported at the end, so where there is any, all of this
 * is to be read again if it does not come to that.
 */
static void note_parts(void *arg)
{
	struct check *c = arg;

	if (damage_any(&c->damage) || c->n_odd || c->result.n_damaged)
		return;
	stamp_parts(c, c->part->done);
	save_stamps(c);
}

/* Times that cannot be read are damage, and as if there were none. */
static int choose_parts(struct check *c, uint8_t bytes[STAMPS], unsigned *ret)
{
	const struct verify *job = c->job;
	struct stamps stamps;
	int r = count_damage(c, stamps_load(job->repo, &stamps));

	if (r < 0)
		return r;
	*ret = stamps_choose(&stamps,
		job->older_than ? c->begun - job->older_than : 0,
		job->parts ? job->parts : STAMPS, bytes);
	if (job->progress)
		job->progress->total = job->progress->total / STAMPS * *ret;
	return 0;
}

/* As much of the chunks as was asked for, oldest stamp first. */
static int check_part(struct check *c)
{
	const struct verify *job = c->job;
	uint8_t bytes[STAMPS];
	struct part part = { .repo = job->repo,
		.bytes = bytes,
		.n_threads = c->n_threads,
		.max_seconds = job->max_seconds,
		.visit = visit_stored,
		.pause = note_parts,
		.arg = c };
	int r = choose_parts(c, bytes, &part.n);

	if (r < 0)
		return r;
	c->part = &part;
	r = part_walk(&part);
	if (r == 0)
		stamp_parts(c, part.done);
	else
		note_parts(c);
	c->part = NULL;
	return count_damage(c, r);
}

/* The same of what points and clones need, that of the newest first. */
static int check_newest(struct check *c)
{
	const struct verify *job = c->job;
	uint8_t bytes[STAMPS];
	bool parts[STAMPS] = { false };
	struct newest newest = { .repo = job->repo,
		.users = &c->users,
		.parts = parts,
		.n_threads = c->n_threads,
		.max_seconds = job->max_seconds,
		.cancel = job->cancel,
		.visit = visit_stored,
		.arg = c };
	unsigned n = 0;
	int r = choose_parts(c, bytes, &n);

	for (unsigned i = 0; i < n; i++)
		parts[bytes[i]] = true;
	if (r == 0)
		r = newest_walk(&newest);
	c->result.n_newest = newest.n_points;
	return count_damage(c, r);
}

static int add_to_count(void *arg, const struct doc *doc)
{
	store_count_add(arg, doc);
	return 0;
}

/* Has the index lost keys? Of whoever did not look at all of them. */
static int check_index(struct check *c)
{
	struct store *s = c->job->repo->store;
	struct store_count before, listed = { 0 }, after;
	int r = store_count(s, COLL_CHUNKS, &before);

	if (r == 0)
		r = store_scan(
			s, COLL_CHUNKS, NULL, SCAN_KEYS, add_to_count, &listed);
	if (r == 0 && listed.n == before.n && listed.sum[0] == before.sum[0])
		return 0;
	/* it may have changed meanwhile */
	if (r == 0)
		r = store_count(s, COLL_CHUNKS, &after);
	if (r < 0)
		return count_damage(c, r);
	if (before.n == after.n && before.sum[0] == after.sum[0]) {
		c->index_bad = true;
		return count_damage(c,
			fail(EBADMSG,
				"chunks: the index lists others than the store "
				"counts: run hivefs repair --index"));
	}
	return 0;
}

/*
 * Whoever reads does not write, so what is to be moved is moved through a
 * handle of its own, and only if there is anything. An index that lost keys
 * makes whole documents look missing: that is to be rebuilt, not healed.
 */
static int move_damage(struct check *c)
{
	scoped(repo_closep) struct repo *r = NULL;
	struct heal_result res = { 0 };
	struct store_count quarantined;
	int err;

	if (!c->job->heal || c->job->metadata_only || c->index_bad)
		return 0;
	err = store_count(c->job->repo->store, COLL_QUARANTINE, &quarantined);
	if (err < 0)
		return err;
	if (damage_count(&c->damage) == 0 && quarantined.n == 0)
		return 0;
	err = repo_open(c->job->repo->url, 0, &r);
	if (err == 0)
		err = heal(r, &c->damage, &res);
	c->result.n_quarantined = res.n_moved;
	c->result.n_healed = res.n_healed;
	/* what cannot be moved has been found all the same */
	if (err < 0)
		log_warn("%s: nothing, or not all, could be moved to the "
			 "quarantine",
			c->job->repo->url);
	return 0;
}

static int check_chunks(struct check *c)
{
	int r;

	c->begun = time(NULL);
	if (c->job->newest_first) {
		r = check_newest(c);
	} else if (is_partial(c->job)) {
		r = check_part(c);
	} else {
		r = check_stored(c, COLL_MAPS);
		if (r == 0)
			r = check_stored(c, COLL_CHUNKS);
		if (r == 0)
			stamp_parts(c, NULL);
	}
	c->result.n_chunks = c->n_chunks;
	c->result.bytes = c->bytes;
	return r;
}

static int run(struct check *c)
{
	struct store_count chunks;
	int r = store_estimate(c->job->repo->store, COLL_CHUNKS, &chunks);

	if (r < 0)
		return r;
	if (c->job->progress)
		c->job->progress->total = chunks.bytes;
	r = check_documents(c);
	if (r == 0)
		r = reach_run(c->reach, &c->result.n_maps, &c->result.n_chunks);
	if (r == 0 && !c->job->metadata_only)
		r = check_chunks(c);
	if (r == 0)
		r = report(c);
	if (r == 0 && is_partial(c->job) && damage_count(&c->damage))
		r = check_index(c);
	if (r == 0)
		r = move_damage(c);
	if (r == 0)
		save_stamps(c);
	return r;
}

static int check_init(struct check *c)
{
	int r = reach_new(c->job->repo, c->n_threads, c->job->cancel,
		&c->damage, NULL, &c->reach);

	c->fetchers = calloc(c->n_threads, sizeof(struct fetcher *));
	if (!c->fetchers)
		return fail(ENOMEM, "verify: %m");
	for (unsigned i = 0; r == 0 && i < c->n_threads; i++)
		r = fetcher_new(c->job->repo, &c->fetchers[i]);
	return r;
}

static void check_fini(struct check *c)
{
	if (c->reach)
		reach_free(c->reach);
	for (unsigned i = 0; c->fetchers && i < c->n_threads; i++)
		if (c->fetchers[i])
			fetcher_free(c->fetchers[i]);
	free(c->fetchers);
	vec_fini(&c->users.points);
	vec_fini(&c->users.clones);
	damage_fini(&c->damage);
}

int verify(const struct verify *job, struct verify_result *ret)
{
	struct check c = { .job = job };
	int r;

	c.n_threads = job->n_threads ? job->n_threads
				     : store_threads(job->repo->store);
	damage_init(&c.damage);
	r = check_init(&c);
	if (r == 0)
		r = run(&c);
	if (r == 0) {
		c.result.n_damaged +=
			c.n_odd + damage_log(&c.damage, job->repo);
		c.result.index_bad = c.index_bad;
		*ret = c.result;
	}
	check_fini(&c);
	return r;
}

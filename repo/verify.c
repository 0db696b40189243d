/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/verify_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "repo/heal.h"
#include "repo/newest.h"
#include "src/log.h"

int verify_cancelled(const struct check *c)
{
	return c->job->cancel && *c->job->cancel ? -ECANCELED : 0;
}

int verify_count(struct check *c, int r)
{
	if (r != -EBADMSG)
		return r < 0 ? r : 0;
	c->result.n_damaged++;
	return 0;
}

static int visit_stored(
	void *arg, const struct doc *doc, int err, unsigned thread)
{
	struct check *c = arg;
	bool is_map = doc->coll == COLL_MAPS;
	struct digest want;
	uint32_t len;

	if (verify_cancelled(c))
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
	return verify_count(c, r);
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
	int r = verify_count(c, stamps_load(job->repo, &stamps));

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
	return verify_count(c, r);
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
	return verify_count(c, r);
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
		return verify_count(c, r);
	if (before.n == after.n && before.sum[0] == after.sum[0]) {
		c->index_bad = true;
		return verify_count(c,
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
	r = verify_documents(c);
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

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/open_clone.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "repo/clone_whole.h"
#include "repo/diff.h"
#include "repo/keeper.h"
#include "repo/live_fold.h"
#include "repo/writer.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/monotonic.h"
#include "src/pool.h"
#include "src/process.h"

/* A window with fewer pages written is not worth folding by itself. */
#define SPARSE_PAGES 64

struct open_clone {
	struct repo *repo;
	struct cache *cache;
	struct live **disks;
	size_t n_disks;
	pthread_mutex_t folding; /* held by the one who folds */
	struct clone clone;      /* folding */
	struct keeper keeper;
	pthread_mutex_t counting; /* for moments; after folding */
	struct fold_stats folded; /* counting */
	bool taken;               /* counting; folding is, by no keeper */
};

/* Folding held. All disks at one instant: nobody writes between the first
 * freeze and the last. */
static int freeze(struct open_clone *o)
{
	int err = 0;

	for (size_t i = 0; i < o->n_disks; i++)
		live_hold(o->disks[i]);
	for (size_t i = 0; err >= 0 && i < o->n_disks; i++)
		err = live_freeze(o->disks[i]);
	keeper_fold_begin(&o->keeper);
	for (size_t i = o->n_disks; i-- > 0;)
		live_unhold(o->disks[i]);
	return MIN_OF(err, 0);
}

static void count(struct open_clone *o, const struct fold_stats *stats)
{
	pthread_mutex_lock(&o->counting);
	for (size_t i = 0; i < o->n_disks; i++)
		fold_stats_add(&o->folded, &stats[i]);
	pthread_mutex_unlock(&o->counting);
}

/* Folding held. */
static int fold_frozen(struct open_clone *o, unsigned n_threads,
	unsigned sparse_pages, struct fold_stats *stats)
{
	struct fold f = { .repo = o->repo,
		.clone = &o->clone,
		.disks = o->disks,
		.n_threads = MIN_OF(n_threads, FOLD_THREADS_MAX),
		.sparse_pages = sparse_pages,
		.control = &o->keeper.control };
	int err;

	err = fold(&f, stats);
	if (err == 0)
		count(o, stats);
	keeper_fold_end(&o->keeper, err);
	return err;
}

static bool any_frozen(struct open_clone *o)
{
	for (size_t i = 0; i < o->n_disks; i++)
		if (live_frozen(o->disks[i]))
			return true;
	return false;
}

static int fold_now(void *arg)
{
	struct open_clone *o = arg;
	scoped(freep) struct fold_stats *stats =
		calloc(o->n_disks, sizeof(*stats));
	int err;

	if (!stats)
		return fail(ENOMEM, "fold: %m");
	pthread_mutex_lock(&o->folding);
	err = freeze(o);
	if (err == 0 && any_frozen(o))
		err = fold_frozen(
			o, (cpu_count() + 1) / 2, SPARSE_PAGES, stats);
	else
		keeper_fold_end(&o->keeper, err);
	pthread_mutex_unlock(&o->folding);
	return err;
}

int open_clone_admit(struct open_clone *o)
{
	return keeper_admit(&o->keeper);
}

void open_clone_wrote(struct open_clone *o, uint64_t len)
{
	keeper_wrote(&o->keeper, len);
}

void open_clone_folding(
	const struct open_clone *o, uint64_t *ret_all, uint64_t *ret_done)
{
	const struct keeper *k = &o->keeper;
	bool folding = atomic_load(&k->frozen) > 0;

	*ret_all = folding ? atomic_load(&k->control.all) : 0;
	*ret_done = folding ? atomic_load(&k->control.done) : 0;
}

struct fold_stats open_clone_folded(struct open_clone *o)
{
	struct fold_stats folded;

	pthread_mutex_lock(&o->counting);
	folded = o->folded;
	pthread_mutex_unlock(&o->counting);
	return folded;
}

static int take_disks(
	struct open_clone *o, struct cache *c, const struct stream_owner *owner)
{
	o->disks = calloc(o->clone.disks.n, sizeof(struct live *));
	if (!o->disks)
		return fail(ENOMEM, "clone: %m");
	for (size_t i = 0; i < o->clone.disks.n; i++) {
		const struct clone_disk *d = &o->clone.disks.v[i];
		scoped(freep) char *clone = clone_text(&o->clone);
		scoped(freep) char *name = NULL;
		int err;

		if (!clone || asprintf(&name, "%s/%s", clone, d->name) < 0)
			return fail(ENOMEM, "clone: %m");
		err = live_open(c, name, d, owner, &o->disks[i]);
		if (err < 0)
			return err;
		o->n_disks++;
	}
	return 0;
}

/*
 * A clone that nobody ever had open has no stream. From here on it has, and one
 * that is gone must not look like that: its document says where records begin.
 */
static int note_streams(struct open_clone *o)
{
	bool changed = false;

	for (size_t i = 0; i < o->n_disks; i++)
		if (o->clone.disks.v[i].from == 0) {
			o->clone.disks.v[i].from = STREAM_FIRST;
			changed = true;
		}
	return changed ? clone_swap(o->repo, &o->clone) : 0;
}

static int try_take(struct cache *c, const struct uuid *id,
	const struct stream_owner *owner, struct open_clone **ret)
{
	struct open_clone *o = calloc(1, sizeof(*o));
	struct clone now = { 0 };
	int err;

	if (!o)
		return fail(ENOMEM, "clone: %m");
	o->repo = cache_repo(c);
	o->cache = c;
	pthread_mutex_init(&o->folding, NULL);
	pthread_mutex_init(&o->counting, NULL);
	err = clone_get(o->repo, id, &o->clone);
	if (err == 0) {
		log_hold();
		err = clone_judge(o->repo, &o->clone, take_disks(o, c, owner));
	}
	/* with the streams in hand: is it still what we began with? */
	if (err == 0)
		err = clone_get(o->repo, id, &now);
	if (err == 0 && now.version != o->clone.version)
		err = -ESTALE;
	if (err == 0)
		err = note_streams(o);
	clone_fini(&now);
	o->keeper = (struct keeper){ .disks = o->disks,
		.n_disks = o->n_disks,
		.fold = fold_now,
		.arg = o };
	if (err == 0)
		err = keeper_start(&o->keeper);
	if (err < 0)
		open_clone_close(o);
	else
		*ret = o;
	return err;
}

int open_clone_take(struct cache *c, const struct uuid *id,
	const struct stream_owner *owner, struct open_clone **ret)
{
	int err;

	do
		err = try_take(c, id, owner, ret);
	while (err == -ESTALE);
	return err;
}

void open_clone_close(struct open_clone *o)
{
	if (o->keeper.n_threads > 0)
		keeper_stop(&o->keeper);
	for (size_t i = 0; i < o->n_disks; i++) {
		if (live_sync(o->disks[i]) < 0)
			log_debug("clone", "not synced");
		live_close(o->disks[i]);
	}
	free(o->disks);
	clone_fini(&o->clone);
	pthread_mutex_destroy(&o->counting);
	pthread_mutex_destroy(&o->folding);
	free(o);
}

/*
 * Locks folding for what somebody waits for. The keeper's fold, which may take
 * long as it gives way to others, is given up then.
 */
static void folding_take(struct open_clone *o)
{
	pthread_mutex_lock(&o->counting);
	if (!o->taken)
		atomic_store(&o->keeper.control.stop, true);
	pthread_mutex_unlock(&o->counting);
	pthread_mutex_lock(&o->folding);
	pthread_mutex_lock(&o->counting);
	o->taken = true;
	atomic_store(&o->keeper.control.stop, false);
	pthread_mutex_unlock(&o->counting);
}

static void folding_give(struct open_clone *o)
{
	pthread_mutex_lock(&o->counting);
	o->taken = false;
	pthread_mutex_unlock(&o->counting);
	pthread_mutex_unlock(&o->folding);
}

int open_clone_discard(struct open_clone *o)
{
	struct repo *repo = o->repo;
	struct clone c = { 0 };
	int err;

	folding_take(o);
	do {
		clone_fini(&c);
		err = clone_get(repo, &o->clone.id, &c);
		if (err == 0)
			err = clone_drop(repo, &c);
	} while (err == -ESTALE);
	folding_give(o);
	open_clone_close(o);
	if (err == 0)
		clone_remove_streams(repo, &c);
	clone_fini(&c);
	return err;
}

struct live *open_clone_disk(struct open_clone *o, size_t i)
{
	assert(i < o->n_disks);
	return o->disks[i];
}

size_t open_clone_disks(const struct open_clone *o)
{
	return o->n_disks;
}

bool open_clone_written(struct open_clone *o)
{
	for (size_t i = 0; i < o->n_disks; i++)
		if (live_written(o->disks[i]))
			return true;
	return false;
}

static int describe(
	const struct clone *c, const struct fold_stats *stats, struct point *p)
{
	char host[PROCESS_HOST];

	process_host(host);
	p->machine = strdup(c->machine);
	p->host = strdup(host);
	p->version = strdup(HIVEFS_VERSION);
	p->consistency = CONSISTENCY_CRASH;
	p->has_parent = true;
	p->parent = c->base;
	p->config = c->config;
	if (!p->machine || !p->host || !p->version)
		return fail(ENOMEM, "commit: %m");
	for (size_t i = 0; i < c->disks.n; i++) {
		const struct clone_disk *from = &c->disks.v[i];
		struct point_disk d = { .size = from->size,
			.sector_size = from->sector_size,
			.root = from->root,
			.stats = { .read = stats[i].read,
				.data = from->data,
				.lost = from->lost,
				.fresh = stats[i].fresh,
				.stored = stats[i].stored } };

		d.name = strdup(from->name);
		d.source = clone_text(c);
		if (!d.name || !d.source || vec_add(&p->disks, d) < 0) {
			free(d.name);
			free(d.source);
			return fail(ENOMEM, "commit: %m");
		}
	}
	return 0;
}

static int changed_since(struct open_clone *o, const struct point_disk *from,
	struct point_disk *d)
{
	scoped(disk_closep) struct disk *was = NULL, *is = NULL;
	int err = disk_open(o->cache, "commit", &from->root, from->size,
		from->sector_size, &was);

	if (err == 0)
		err = disk_open(o->cache, "commit", &d->root, d->size,
			d->sector_size, &is);
	return err < 0 ? err : diff_changed(was, is, &d->stats.changed);
}

/* For people: nothing is wrong with a point that does not know. */
static void count_changed(struct open_clone *o, struct point *p)
{
	struct point base;
	int err = point_get(o->repo, &p->parent, &base);

	if (err < 0)
		return; /* a named clone outlives its point */
	for (size_t i = 0; err == 0 && i < p->disks.n; i++) {
		struct point_disk *d = &p->disks.v[i];
		const struct point_disk *from = point_disk(&base, d->name);

		if (from)
			err = changed_since(o, from, d);
	}
	point_fini(&base);
}

/*
 * A point must not be made of what is known to be damaged. What was not written
 * to is taken over unread, so the quarantine is asked, and again once the maps
 * were walked.
 */
static int check_whole(struct open_clone *o)
{
	struct quarantine q = { 0 }, now = { 0 };
	bool again = true;
	int err = 0;

	while (err == 0 && again) {
		quarantine_fini(&q);
		q = now;
		now = (struct quarantine){ 0 };
		err = quarantine_load(o->repo, &now);
		again = err == 0 && quarantine_grew(&q, &now);
		if (again)
			err = clone_whole(o->repo, &o->clone, &now);
	}
	quarantine_fini(&q);
	quarantine_fini(&now);
	return err;
}

/* Folding held. The clone's roots, read after registering, are the point's. */
static int publish(
	struct open_clone *o, const struct fold_stats *stats, struct point *p)
{
	struct clone now = { 0 };
	struct writer *w;
	int err = writer_begin(
		o->repo, WRITER_POINT, &o->clone.base.machine, 0, &w);

	if (err < 0)
		return err;
	p->id.machine = o->clone.base.machine;
	p->id.writer = writer_id(w);
	err = writer_aim(w, p->id.time);
	if (err == 0)
		err = clone_get(o->repo, &o->clone.id, &now);
	if (err == 0)
		err = describe(&now, stats, p);
	if (err == 0)
		err = check_whole(o);
	if (err == 0)
		count_changed(o, p);
	p->end = MAX_OF((int64_t)time(NULL), p->id.time);
	if (err == 0)
		err = point_insert(o->repo, p);
	if (err == -EEXIST)
		err = fail(ENOTUNIQ, "commit: was given up by a garbage "
				     "collection that took it for dead; run it "
				     "again");
	clone_fini(&now);
	writer_end(w);
	return err;
}

static int begin_time(struct open_clone *o, int64_t *ret)
{
	struct point latest = { 0 };
	int err = point_latest(o->repo, &o->clone.base.machine, &latest);

	if (err < 0 && err != -ENOENT && err != -EBADMSG)
		return err;
	*ret = point_time_after(err == 0 ? &latest : NULL);
	point_fini(&latest);
	return 0;
}

/* What an earlier fold left frozen is no cut of now: STATS are of that. */
static int fold_left(struct open_clone *o, struct fold_stats *stats)
{
	return any_frozen(o) ? fold_frozen(o, cpu_count(), SPARSE_PAGES, stats)
			     : 0;
}

static int commit(
	struct open_clone *o, struct fold_stats *stats, struct point *p)
{
	scoped(freep) struct fold_stats *left =
		calloc(o->n_disks, sizeof(*left));
	int err = left ? fold_left(o, left) : fail(ENOMEM, "commit: %m");

	if (err == 0)
		err = begin_time(o, &p->id.time);
	if (err == 0)
		err = freeze(o);
	if (err == 0)
		err = fold_frozen(o, cpu_count(), 0, stats);
	if (err < 0)
		return err;
	for (size_t i = 0; i < o->n_disks; i++)
		fold_stats_add(&stats[i], &left[i]);
	return publish(o, stats, p);
}

int open_clone_commit(struct open_clone *o, struct point *ret)
{
	scoped(freep) struct fold_stats *stats =
		calloc(o->n_disks, sizeof(*stats));
	struct point p = { 0 };
	int64_t begin = monotonic_ms();
	int err;

	if (!stats)
		return fail(ENOMEM, "commit: %m");
	folding_take(o);
	err = commit(o, stats, &p);
	folding_give(o);
	p.duration_ms = (uint64_t)(monotonic_ms() - begin);
	if (err < 0)
		point_fini(&p);
	else
		*ret = p;
	return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/ingest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "repo/address.h"
#include "repo/heal.h"
#include "repo/machine.h"
#include "repo/mapbuild.h"
#include "repo/window.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/monotonic.h"
#include "src/pool.h"
#include "src/process.h"
#include "src/text.h"

/*
 * Windows are worked on in rounds, so that their leaves are joined to the map
 * in order without a queue. 2 GiB of them a round: the threads that wait for
 * the last window of one lose less than half a percent.
 */
#define ROUND 512u
#define BATCH_TOTAL (64u << 20) /* of all threads together */
#define BATCH_MAX (16u << 20)
#define BATCH_NODES (4u << 20)
#define THREADS_MAX 64u /* so that each has 2 MiB of it at least */
#define ATTEMPTS 3

struct run {
	const struct ingest *job;
	struct writer *writer; /* NULL: a dry run */
	struct quarantine quarantine;
	struct point parent; /* where has_parent */
	bool has_parent;
	unsigned n_threads;
	struct window_worker *workers[THREADS_MAX];
	struct window_worker *spare; /* whose batch the nodes of maps go into */
};

/* One disk under way. */
struct pass {
	struct run *run;
	struct blk *source;
	uint64_t off; /* how far the source's extents were looked at */
	struct map_base *base;
	struct map_builder *builder;
	unsigned n;
	struct window_job jobs[ROUND];
	struct window_result results[ROUND];
	struct disk_stats stats;
};

static struct ingest_progress *progress_of(const struct run *run)
{
	static struct ingest_progress nobody;

	return run->job->progress ? run->job->progress : &nobody;
}

static bool cancelled(const struct run *run)
{
	return run->job->cancel && atomic_load(run->job->cancel);
}

static struct window_job *job_for(struct pass *p, uint64_t window)
{
	struct window_job *j = p->n ? &p->jobs[p->n - 1] : NULL;

	if (j && j->index == window)
		return j;
	if (p->n == ROUND)
		return NULL;
	j = &p->jobs[p->n++];
	memset(j, 0, sizeof(*j));
	j->index = window;
	return j;
}

/* Enters what is not zero of an extent; stops at a window that has no place. */
static uint64_t mark(struct pass *p, const struct blk_extent *e)
{
	uint64_t end = p->off + e->len;
	uint64_t off = p->off;

	while (off < end) {
		uint64_t window = off / WINDOW_LEN;
		uint64_t stop = MIN_OF(end, (window + 1) * WINDOW_LEN);
		struct window_job *j = job_for(p, window);

		if (!j)
			break;
		for (; off < stop; off = round_down(off, PAGE_LEN) + PAGE_LEN)
			page_add(e->kind == BLK_DATA ? &j->data : &j->lost,
				(uint32_t)(off % WINDOW_LEN / PAGE_LEN));
		off = stop;
	}
	return off;
}

/* Looks for the next windows that are not all zero: a hole costs one look. */
static int plan(struct pass *p)
{
	p->n = 0;
	while (p->off < p->source->size) {
		struct blk_extent e;
		uint64_t to;
		int err = blk_extent(
			p->source, p->off, p->source->size - p->off, &e);

		if (err < 0)
			return err;
		to = e.kind == BLK_ZERO ? p->off + e.len : mark(p, &e);
		if (to == p->off)
			break;
		p->off = to;
		if (cancelled(p->run))
			return -ECANCELED;
	}
	for (unsigned i = 0; i < p->n; i++)
		p->jobs[i].base = map_base_digest(p->base, 0, p->jobs[i].index);
	return 0;
}

static int run_window(void *arg, uint64_t i, unsigned thread)
{
	struct pass *p = arg;
	struct ingest_progress *progress = progress_of(p->run);
	struct window_result *r = &p->results[i];
	uint64_t begin = p->jobs[i].index * WINDOW_LEN;
	int err;

	if (cancelled(p->run))
		return -ECANCELED;
	err = window_run(p->run->workers[thread], p->source, &p->jobs[i], r);
	if (err < 0)
		return err;
	atomic_fetch_add(&progress->read, r->read);
	atomic_fetch_add(&progress->done,
		MIN_OF(p->source->size - begin, (uint64_t)WINDOW_LEN));
	if (p->run->writer)
		writer_beat(p->run->writer);
	return 0;
}

static int join(struct pass *p)
{
	int err = 0;

	for (unsigned i = 0; err == 0 && i < p->n; i++) {
		const struct window_result *r = &p->results[i];
		uint64_t begin = p->jobs[i].index * WINDOW_LEN;

		p->stats.read += r->read;
		p->stats.data += r->data;
		p->stats.lost += r->lost;
		p->stats.fresh += r->leaf.fresh;
		p->stats.stored += r->leaf.stored;
		if (r->leaf.changed)
			p->stats.changed += MIN_OF(
				p->source->size - begin, (uint64_t)WINDOW_LEN);
		err = map_builder_add(
			p->builder, p->jobs[i].index, &r->leaf.digest);
	}
	return err;
}

static void take_stats(struct disk_stats *s, struct batch *b)
{
	struct batch_stats t = batch_take_stats(b);

	s->fresh += t.plain;
	s->stored += t.stored;
	s->n_chunks += t.n_chunks;
	s->n_maps += t.n_maps;
}

static int flush_one(void *arg, uint64_t i, unsigned thread)
{
	struct run *run = arg;

	(void)thread;
	return batch_flush(window_batch(run->workers[i]));
}

/* The leaves' batches before the one of the nodes that name them. */
static int flush(struct pass *p)
{
	struct run *run = p->run;
	int err;

	if (!run->writer)
		return 0;
	err = parallel_for(run->n_threads, run->n_threads, flush_one, run);
	if (err == 0)
		err = batch_flush(window_batch(run->spare));
	for (unsigned t = 0; t < run->n_threads; t++)
		take_stats(&p->stats, window_batch(run->workers[t]));
	take_stats(&p->stats, window_batch(run->spare));
	return err;
}

static int rounds(struct pass *p)
{
	struct ingest_progress *progress = progress_of(p->run);
	int err;

	do {
		uint64_t before = p->off, worked = 0;

		err = plan(p);
		if (err < 0)
			return err;
		for (unsigned i = 0; i < p->n; i++)
			worked += MIN_OF(
				p->source->size - p->jobs[i].index * WINDOW_LEN,
				(uint64_t)WINDOW_LEN);
		/* windows reach over the edges of what was looked at */
		if (p->off - before > worked)
			atomic_fetch_add(
				&progress->done, p->off - before - worked);
		err = parallel_for(p->run->n_threads, p->n, run_window, p);
		if (err == 0)
			err = join(p);
	} while (err == 0 && p->off < p->source->size);
	return err;
}

static int check_unchanged(const struct run *run, struct blk *source)
{
	int r = blk_changed(source);

	if (r <= 0 || run->job->consistency == CONSISTENCY_NONE)
		return MIN_OF(r, 0);
	return fail(ESTALE,
		"%s: changed while it was read: shut the machine down, "
		"snapshot it, or back up a smear with --in-use",
		source->name);
}

static int disk_pass(
	struct run *run, const struct ingest_disk *disk, struct point_disk *ret)
{
	static const struct digest none;
	const struct point_disk *old =
		run->has_parent ? point_disk(&run->parent, disk->name) : NULL;
	scoped(freep) struct pass *p = calloc(1, sizeof(*p));
	scoped(map_base_freep) struct map_base *base = NULL;
	scoped(map_builder_freep) struct map_builder *builder = NULL;
	int err;

	if (!p)
		return fail(ENOMEM, "backup: %m");
	err = map_base_new(run->job->repo, old ? &old->root : &none,
		old ? old->size : disk->source->size, &base);
	if (err == 0)
		err = map_builder_new(disk->source->size, false, base,
			&run->quarantine, run->writer,
			run->writer ? window_batch(run->spare) : NULL,
			&builder);
	if (err < 0)
		return err;
	p->run = run;
	p->source = disk->source;
	p->base = base;
	p->builder = builder;
	err = rounds(p);
	if (err == 0)
		err = map_builder_finish(builder, &ret->root);
	if (err == 0)
		err = flush(p);
	if (err == 0)
		err = check_unchanged(run, disk->source);
	ret->stats = p->stats;
	return err;
}

static int add_disk(
	struct run *run, const struct ingest_disk *disk, struct point *point)
{
	struct point_disk d = { .size = disk->source->size,
		.sector_size = disk->source->sector_size };
	int err = disk_pass(run, disk, &d);

	if (err < 0)
		return err;
	d.name = strdup(disk->name);
	d.source = strdup(disk->source_name ? disk->source_name : "");
	if (d.name && d.source && vec_add(&point->disks, d) == 0)
		return 0;
	free(d.name);
	free(d.source);
	return fail(ENOMEM, "backup: %m");
}

static int describe(const struct run *run, struct point *p)
{
	char host[PROCESS_HOST];

	process_host(host);
	p->id.writer = run->writer ? writer_id(run->writer) : uuid_random();
	p->machine = strdup(run->job->machine);
	p->host = strdup(host);
	p->version = strdup(HIVEFS_VERSION);
	p->consistency = run->job->consistency;
	p->config = machine_config_over(&run->job->config, &run->parent.config);
	p->has_parent = run->has_parent;
	p->parent = run->parent.id;
	return p->machine && p->host && p->version ? 0
						   : fail(ENOMEM, "backup: %m");
}

static int make_workers(struct run *run)
{
	struct window_params params = { .store = { .repo = run->job->repo,
						.writer = run->writer,
						.no_check = run->job->no_check,
						.quarantine =
							&run->quarantine },
		.skip_errors = run->job->skip_errors };
	unsigned n = run->job->n_threads;
	int err = 0;

	/* two more than processors, for those that wait for a disk */
	if (n == 0)
		n = MAX_OF(
			cpu_count() + 2, store_threads(run->job->repo->store));
	run->n_threads = MIN_OF(n, THREADS_MAX);
	params.store.batch_len =
		MIN_OF(BATCH_TOTAL / run->n_threads, BATCH_MAX);
	for (unsigned t = 0; err == 0 && t < run->n_threads; t++)
		err = window_worker_new(&params, &run->workers[t]);
	params.store.batch_len = BATCH_NODES;
	if (err == 0)
		err = window_worker_new(&params, &run->spare);
	return err;
}

static void free_workers(struct run *run)
{
	for (unsigned t = 0; t < run->n_threads; t++)
		if (run->workers[t])
			window_worker_free(run->workers[t]);
	if (run->spare)
		window_worker_free(run->spare);
}

static int find_parent(struct run *run, const struct uuid *machine)
{
	char then[32];
	int err = point_latest(run->job->repo, machine, &run->parent);

	run->has_parent = err == 0;
	if (err == 0 && run->parent.id.time > point_time_after(&run->parent))
		log_warn("%s: its newest point is of %s, later than this "
			 "host's clock: `latest` will not be this backup",
			run->job->machine,
			time_text(run->parent.id.time, then));
	/* a parent that cannot be read makes the backup slower, not wrong */
	return err == -ENOENT || err == -EBADMSG ? 0 : err;
}

static int publish(struct run *run, struct point *p)
{
	/* what was quarantined since may be named by a window taken over */
	int err = quarantine_check(run->job->repo, &run->quarantine);

	if (err == 0)
		err = point_insert(run->job->repo, p);
	if (err == -EEXIST)
		err = fail(ENOTUNIQ,
			"%s: this backup was given up by a garbage collection "
			"that took it for dead; run it again",
			run->job->machine);
	return err;
}

static int set_gone_aside(struct run *run)
{
	uint64_t n = 0;
	int err = heal_gone(run->job->repo, &n);

	progress_of(run)->gone += n;
	return err;
}

static int attempt(struct run *run, const struct uuid *machine, struct point *p)
{
	const struct ingest *job = run->job;
	int64_t begin = monotonic_ms();
	int err = 0;

	p->id.machine = *machine;
	/* registered before anything is read that will be relied on */
	if (!job->dry_run)
		err = writer_begin(
			job->repo, WRITER_POINT, machine, 0, &run->writer);
	if (err == 0 && !job->dry_run)
		err = set_gone_aside(run);
	if (err == 0)
		err = quarantine_load(job->repo, &run->quarantine);
	if (err == 0)
		err = find_parent(run, machine);
	p->id.time = point_time_after(run->has_parent ? &run->parent : NULL);
	if (err == 0 && run->writer)
		err = writer_aim(run->writer, p->id.time);
	if (err == 0)
		err = describe(run, p);
	if (err == 0)
		err = make_workers(run);
	for (size_t i = 0; err == 0 && i < job->n_disks; i++)
		err = add_disk(run, &job->disks[i], p);
	/* of points made faster than one a second the time is ahead */
	p->end = MAX_OF((int64_t)time(NULL), p->id.time);
	p->duration_ms = (uint64_t)(monotonic_ms() - begin);
	if (err == 0 && !job->dry_run)
		err = publish(run, p);
	return err;
}

static void attempt_end(struct run *run)
{
	free_workers(run);
	quarantine_fini(&run->quarantine);
	point_fini(&run->parent);
	if (run->writer)
		writer_end(run->writer);
}

static int machine_of(const struct ingest *job, struct uuid *ret)
{
	int err;

	if (!job->dry_run)
		return machine_ensure(job->repo, job->machine, ret);
	err = machine_get(job->repo, job->machine, ret);
	if (err == -ENOENT) {
		*ret = uuid_random();
		err = 0;
	}
	return err;
}

static void start_progress(const struct run *run)
{
	struct ingest_progress *progress = progress_of(run);
	uint64_t total = 0;

	for (size_t d = 0; d < run->job->n_disks; d++)
		total += run->job->disks[d].source->size;
	progress->total = total;
	progress->done = 0;
	progress->read = 0;
}

int ingest(const struct ingest *job, struct point *ret)
{
	struct uuid machine;
	int err = machine_of(job, &machine);

	for (int i = 0; err == 0; i++) {
		struct run run = { .job = job };
		struct point p = { 0 };

		start_progress(&run);
		err = attempt(&run, &machine, &p);
		attempt_end(&run);
		if (err == 0) {
			*ret = p;
			return 0;
		}
		point_fini(&p);
		if (err == -EAGAIN)
			err = i + 1 < ATTEMPTS
				      ? 0
				      : fail(EAGAIN,
						"%s: damage is being "
						"repaired faster than "
						"this backup runs; run "
						"it again later",
						job->machine);
	}
	return err;
}

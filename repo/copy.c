/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/copy.h"

#include <errno.h>
#include <string.h>

#include "repo/copy_label.h"
#include "repo/heal.h"
#include "repo/machine.h"
#include "repo/quarantine.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/pool.h"

#define ATTEMPTS 4
#define ASK 512u
#define NEIGHBOURS 8
#define THREADS_MIN 8u /* most of them wait for a store */
#define THREADS_MAX 32u
#define THREADS_SLOW 2u /* where there is a limit */

/* What of the machine the other repository has, for its maps to begin with. */
struct base {
	struct point_id id;
	bool virtual; /* a dry run: it would be there by now */
};

struct run {
	const struct copy *job;
	struct copy_result *result;
	struct rate rate;
	bool looked;                   /* for what is lost there */
	struct digest_set claimed;     /* dry run */
	bool *damaged;                 /* of the ids: known, and said */
	struct uuid machine;           /* of the bases */
	struct vec(struct base) bases; /* in the order of their keys */
};

/* One point under way. */
struct pass {
	struct run *run;
	struct point point, base;
	bool has_base;
	struct repo *base_repo;
	struct point_place place;
	struct writer *writer; /* NULL: a dry run */
	struct quarantine quarantine;
	struct digest_set claimed;
	struct carry_stats stats;
};

static int no_memory(void)
{
	return fail(ENOMEM, "copy: %m");
}

static int order_ids(const void *pa, const void *pb)
{
	struct key a = point_key(pa), b = point_key(pb);

	return memcmp(a.b, b.b, POINT_ID_LEN);
}

static bool cancelled(const struct run *run)
{
	return run->job->cancel && atomic_load(run->job->cancel);
}

static void report(struct run *run, const struct point *p,
	enum copy_outcome outcome, const struct carry_stats *stats)
{
	static const struct carry_stats none;
	struct carry_stats *sum = &run->result->sent;

	if (!stats)
		stats = &none;
	run->result->n[outcome]++;
	sum->n_chunks += stats->n_chunks;
	sum->n_maps += stats->n_maps;
	sum->plain += stats->plain;
	sum->stored += stats->stored;
	run->job->visit(run->job->arg, p, outcome, stats);
}

static int note_base(void *arg, const struct doc *d)
{
	struct run *run = arg;
	struct base b = { .virtual = false };
	int r = point_key_parse(&d->key, &b.id);

	if (r == 0 && vec_add(&run->bases, b) < 0)
		r = no_memory();
	return r == -EBADMSG ? 0 : r;
}

static int list_bases(struct run *run, const struct uuid *machine)
{
	struct key prefix = key_of(machine->b, sizeof(machine->b));

	if (run->bases.n && memcmp(machine, &run->machine, 16) == 0)
		return 0;
	run->machine = *machine;
	run->bases.n = 0;
	return store_scan(run->job->to->store, COLL_POINTS, &prefix, SCAN_KEYS,
		note_base, run);
}

/* How many bases come before ID. */
static size_t bases_before(const struct run *run, const struct point_id *id)
{
	size_t lo = 0, hi = run->bases.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (order_ids(&run->bases.v[mid].id, id) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int add_base(struct run *run, const struct point_id *id)
{
	struct base b = { .id = *id, .virtual = run->job->dry_run };
	size_t at = bases_before(run, id);
	struct base *v;

	if (at < run->bases.n && order_ids(&run->bases.v[at].id, id) == 0) {
		run->bases.v[at] = b;
		return 0;
	}
	if (vec_add(&run->bases, b) < 0)
		return no_memory();
	v = run->bases.v;
	memmove(v + at + 1, v + at, (run->bases.n - 1 - at) * sizeof(*v));
	v[at] = b;
	return 0;
}

/* 1: the AT-th is there, whole, and not removed. 0: another one then. */
static int try_base(struct pass *p, size_t at)
{
	const struct copy *job = p->run->job;
	const struct base *b = &p->run->bases.v[at];
	int r;

	p->base_repo = b->virtual ? job->from : job->to;
	r = point_get(p->base_repo, &b->id, &p->base);
	p->has_base = r == 0;
	return r == -ENOENT || r == -EBADMSG ? 0 : r < 0 ? r : 1;
}

/*
 * The point that is likely to share most: the parent, else one close by. Read
 * after we registered, so that what it reaches stays until we are done.
 */
static int find_base(struct pass *p)
{
	struct run *run = p->run;
	int r = list_bases(run, &p->point.id.machine);
	size_t at;

	if (r == 0 && p->point.has_parent) {
		size_t parent = bases_before(run, &p->point.parent);

		if (parent < run->bases.n && order_ids(&run->bases.v[parent].id,
						     &p->point.parent) == 0)
			r = try_base(p, parent);
	}
	at = bases_before(run, &p->point.id);
	for (size_t i = 1; r == 0 && i <= NEIGHBOURS && i <= at; i++)
		r = try_base(p, at - i);
	for (size_t i = 0; r == 0 && i < NEIGHBOURS && at + i < run->bases.n;
		i++)
		r = try_base(p, at + i);
	return MIN_OF(r, 0);
}

static int carry_all(struct pass *p, struct carry *carry)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->point.disks.n; i++) {
		const struct point_disk *d = &p->point.disks.v[i];
		const struct point_disk *base =
			p->has_base ? point_disk(&p->base, d->name) : NULL;
		struct carry_disk disk = { .root = &d->root, .size = d->size };

		if (base) {
			disk.base_repo = p->base_repo;
			disk.base_root = &base->root;
			disk.base_size = base->size;
		}
		r = carry_disk(carry, &disk);
	}
	return r;
}

static unsigned threads(const struct copy *job)
{
	unsigned n;

	if (job->n_threads)
		return MIN_OF(job->n_threads, THREADS_MAX);
	if (job->limit)
		return THREADS_SLOW;
	n = cpu_count() + 2;
	n = MAX_OF(n, THREADS_MIN);
	return MIN_OF(n, THREADS_MAX);
}

/* *ret_bad: it is the source that -EBADMSG is about. */
static int carry_point(struct pass *p, bool *ret_bad)
{
	const struct copy *job = p->run->job;
	struct carry_params params = { .from = job->from,
		.to = job->to,
		.writer = p->writer,
		/* of what is in the quarantine a point may lack something */
		.trust_base = p->quarantine.n == 0,
		.claimed = p->writer ? &p->claimed : &p->run->claimed,
		.n_threads = threads(job),
		.rate = &p->run->rate,
		.cancel = job->cancel,
		.done = job->progress ? &job->progress->done : NULL };
	struct carry *carry;
	int r = carry_new(&params, &carry);

	if (r < 0)
		return r;
	r = carry_all(p, carry);
	p->stats = carry_stats(carry);
	*ret_bad = carry_source_bad(carry);
	carry_free(carry);
	return r;
}

/* Its label first: no moment at which it is there without its hold. */
static int publish(struct pass *p)
{
	const struct copy *job = p->run->job;
	struct key key = point_key(&p->point.id);
	bool changed, bookmarks;
	struct label label;
	struct doc doc;
	/* a base may be what names what was quarantined since */
	int r = quarantine_check(job->to, &p->quarantine);

	if (r == 0)
		r = copy_label(job, &p->point.id, &label, &changed, &bookmarks);
	if (r == 0)
		r = store_get(job->from->store, COLL_POINTS, &key, &doc);
	if (r < 0)
		return r;
	doc.key = key;
	r = point_copy(job->to, &doc, &p->place);
	doc_fini(&doc);
	return r == 0 && bookmarks ? copy_bookmarks(job, &p->point.id, &label)
				   : r;
}

/* Files do not get lost all the time: once is enough. */
static int set_gone_aside(struct run *run)
{
	if (run->looked)
		return 0;
	run->looked = true;
	return heal_gone(run->job->to, &run->result->n_gone);
}

/* The point itself was read, and its place, before this registers. */
static int attempt(struct pass *p, bool *ret_bad)
{
	const struct copy *job = p->run->job;
	int r = 0;

	if (!job->dry_run)
		r = writer_begin_copy(
			job->to, &p->point.id, p->place.version, &p->writer);
	if (r == 0 && !job->dry_run)
		r = set_gone_aside(p->run);
	if (r == 0)
		r = quarantine_load(job->to, &p->quarantine);
	if (r == 0)
		r = find_base(p);
	if (r == 0)
		r = carry_point(p, ret_bad);
	if (r == 0 && !job->dry_run)
		r = publish(p);
	if (r == 0)
		r = add_base(p->run, &p->point.id);
	return r;
}

static void pass_fini(struct pass *p)
{
	if (p->writer)
		writer_end(p->writer);
	quarantine_fini(&p->quarantine);
	digest_set_fini(&p->claimed);
	point_fini(&p->base);
	point_fini(&p->point);
}

static bool gone(struct run *run, const struct point_id *id)
{
	struct point p;
	int r = point_get(run->job->from, id, &p);

	if (r == 0)
		point_fini(&p);
	return r == -ENOENT;
}

/* 1: somebody interfered, and it is worth another attempt. */
static int settle(struct pass *p, int r, bool bad)
{
	struct run *run = p->run;

	if (r == 0) {
		report(run, &p->point, COPY_DONE, &p->stats);
		return 0;
	}
	if (r == -EAGAIN || r == -ENOTUNIQ || r == -EEXIST)
		return 1;
	if ((bad && r == -EBADMSG) || r == -ENOENT) {
		bool left = gone(run, &p->point.id);

		if (!left && r == -ENOENT)
			return r;
		/* what was sent has been sent */
		report(run, &p->point, left ? COPY_GONE : COPY_DAMAGED,
			&p->stats);
		return 0;
	}
	return r;
}

/* 1: it needs to be copied. */
static int look(struct pass *p, const struct point_id *id)
{
	struct run *run = p->run;
	const struct copy *job = run->job;
	struct uuid there;
	struct label l;
	int r = point_get(job->from, id, &p->point);

	if (r == -ENOENT || r == -EBADMSG) {
		p->point.id = *id;
		report(run, &p->point, r == -ENOENT ? COPY_GONE : COPY_DAMAGED,
			NULL);
		return 0;
	}
	if (r == 0)
		r = point_place(job->to, id, &p->place);
	if (r == 0 && p->place.state == POINT_WHOLE)
		r = label_get(job->to, id, &l);
	if (r < 0)
		return r;
	if (p->place.state == POINT_TOMBSTONE ||
		(p->place.state == POINT_WHOLE && l.removed)) {
		report(run, &p->point, COPY_REMOVED, NULL);
		return 0;
	}
	if (p->place.state == POINT_WHOLE) {
		bool changed = false, bookmarks = false;

		if (!job->dry_run)
			r = copy_label(run->job, id, &l, &changed, &bookmarks);
		if (r == 0 && bookmarks)
			r = copy_bookmarks(run->job, id, &l);
		run->result->n_labels += changed;
		if (r == 0)
			report(run, &p->point, COPY_THERE, NULL);
		return r;
	}
	if (job->dry_run) {
		r = machine_get(job->to, p->point.machine, &there);
		if (r == 0 && memcmp(&there, &id->machine, 16) != 0)
			r = -EEXIST;
	} else {
		r = machine_adopt(job->to, p->point.machine, &id->machine);
	}
	if (r == -EEXIST) {
		report(run, &p->point, COPY_REFUSED, NULL);
		return 0;
	}
	return r < 0 && r != -ENOENT ? r : 1;
}

static uint64_t size_of(const struct point *p)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < p->disks.n; i++)
		sum += p->disks.v[i].size;
	return sum;
}

static int copy_one(struct run *run, const struct point_id *id)
{
	struct copy_progress *progress = run->job->progress;
	uint64_t begun = progress ? atomic_load(&progress->done) : 0;
	int r = 1;

	for (int i = 0; r == 1 && i < ATTEMPTS; i++) {
		struct pass p = { .run = run };
		bool bad = false;

		r = look(&p, id);
		if (r == 1) {
			r = attempt(&p, &bad);
			r = settle(&p, r, bad);
		}
		/* whatever became of it, its share is done */
		if (progress && p.place.version == 0)
			atomic_store(&progress->done,
				begun + (r == 1 ? 0 : size_of(&p.point)));
		pass_fini(&p);
		if (cancelled(run))
			return -ECANCELED;
	}
	return r == 1 ? fail(ENOTUNIQ, "copy: garbage collections or repairs "
				       "of the other repository are faster "
				       "than this; run it again later")
		      : r;
}

static int sum_size(struct run *run, const struct point_id *id, bool *damaged)
{
	struct copy_progress *progress = run->job->progress;
	struct point p;
	int r = point_get(run->job->from, id, &p);

	*damaged = r == -EBADMSG;
	if (r == 0 && progress)
		atomic_fetch_add(&progress->total, size_of(&p));
	if (r == 0)
		point_fini(&p);
	return r == -ENOENT || r == -EBADMSG ? 0 : r;
}

/* How much is to be done: of those that are not there, asked in batches. */
static int plan(struct run *run, const struct copy_ids *ids)
{
	struct key keys[ASK];
	bool there[ASK];
	int r = 0;

	run->damaged = calloc(ids->n + 1, sizeof(*run->damaged));
	if (!run->damaged)
		return no_memory();
	for (size_t i = 0; r == 0 && i < ids->n; i += ASK) {
		size_t n = MIN_OF(ids->n - i, (size_t)ASK);

		for (size_t k = 0; k < n; k++)
			keys[k] = point_key(&ids->v[i + k]);
		r = store_exists_many(
			run->job->to->store, COLL_POINTS, keys, n, there);
		for (size_t k = 0; r == 0 && k < n; k++)
			if (!there[k])
				r = sum_size(run, &ids->v[i + k],
					&run->damaged[i + k]);
		if (r == 0 && cancelled(run))
			r = -ECANCELED;
	}
	return r;
}

static void unique_ids(struct copy_ids *ids)
{
	size_t n = 0;

	for (size_t i = 0; i < ids->n; i++)
		if (n == 0 || order_ids(&ids->v[n - 1], &ids->v[i]) != 0)
			ids->v[n++] = ids->v[i];
	ids->n = n;
}

/* Points of one machine: LEN of the ids from FIRST on. */
struct group {
	struct point_id id; /* of the first one */
	size_t first, len;
};
struct groups vec(struct group);

static int order_groups(const void *pa, const void *pb)
{
	const struct group *a = pa, *b = pb;

	if (a->id.time != b->id.time)
		return a->id.time < b->id.time ? -1 : 1;
	return order_ids(&a->id, &b->id);
}

static int gather_groups(const struct copy_ids *ids, struct groups *ret)
{
	for (size_t i = 0; i < ids->n; i++) {
		struct group *last = ret->n ? &ret->v[ret->n - 1] : NULL;

		if (last && memcmp(&last->id.machine, &ids->v[i].machine,
				    sizeof(last->id.machine)) == 0)
			last->len++;
		else if (vec_add(ret, (struct group){ ids->v[i], i, 1 }) < 0)
			return no_memory();
	}
	return 0;
}

/* The machine that has the oldest point first, and its oldest points first. */
static int sort_ids(struct copy_ids *ids)
{
	struct groups groups = { 0 };
	struct point_id *sorted;
	size_t n = 0;
	int r;

	if (ids->n == 0)
		return 0;
	qsort(ids->v, ids->n, sizeof(*ids->v), order_ids);
	unique_ids(ids);
	sorted = calloc(ids->n, sizeof(*sorted));
	r = sorted ? gather_groups(ids, &groups) : no_memory();
	if (r == 0) {
		qsort(groups.v, groups.n, sizeof(*groups.v), order_groups);
		for (size_t i = 0; i < groups.n; i++) {
			const struct group *g = &groups.v[i];

			memcpy(sorted + n, ids->v + g->first,
				g->len * sizeof(*sorted));
			n += g->len;
		}
		memcpy(ids->v, sorted, n * sizeof(*sorted));
	}
	vec_fini(&groups);
	free(sorted);
	return r;
}

int copy_points(
	const struct copy *job, struct copy_ids *ids, struct copy_result *ret)
{
	struct run run = { .job = job, .result = ret };
	int r;

	memset(ret, 0, sizeof(*ret));
	rate_init(&run.rate, job->limit);
	r = sort_ids(ids);
	if (r == 0)
		r = plan(&run, ids);
	for (size_t i = 0; r == 0 && i < ids->n; i++) {
		const struct point unknown = { .id = ids->v[i] };

		if (run.damaged[i])
			report(&run, &unknown, COPY_DAMAGED, NULL);
		else
			r = copy_one(&run, &ids->v[i]);
	}
	free(run.damaged);
	digest_set_fini(&run.claimed);
	vec_fini(&run.bases);
	rate_fini(&run.rate);
	return r;
}

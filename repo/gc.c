/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/gc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "repo/gc_condemn.h"
#include "repo/gc_mark.h"
#include "repo/gc_roots.h"
#include "repo/gc_sweep.h"
#include "repo/stream.h"
#include "repo/writers.h"
#include "src/log.h"
#include "src/pool.h"

#define MEMORY_DEFAULT (UINT64_C(256) << 20)
#define PARTS_MAX 256u

struct streams vec(struct uuid);

static int add_stream(void *arg, const struct uuid *id)
{
	return vec_add((struct streams *)arg, *id) < 0 ? fail(ENOMEM, "gc: %m")
						       : 0;
}

static uint64_t memory_bound(const struct gc_state *g)
{
	return g->job->memory ? g->job->memory : MEMORY_DEFAULT;
}

/* Into how many parts the digests are divided, so that a filter of each fits.
 */
static unsigned parts(const struct gc_state *g, uint64_t n_documents)
{
	unsigned n = 1;

	while (n < PARTS_MAX &&
		n_documents / n * BLOOM_BITS_MIN / 8 > memory_bound(g))
		n *= 2;
	return n;
}

/* As many bits a digest as there is memory for: the more, the fewer errors. */
static unsigned bits(const struct gc_state *g, uint64_t n_digests)
{
	uint64_t n = memory_bound(g) / (n_digests / 8 + 1);

	return n > BLOOM_BITS_MAX   ? BLOOM_BITS_MAX
	       : n < BLOOM_BITS_MIN ? BLOOM_BITS_MIN
				    : (unsigned)n;
}

/* The sizes of filters hang on it, nothing else. */
static int count_documents(
	struct gc_state *g, uint64_t *ret_maps, uint64_t *ret_all)
{
	struct store_count chunks, maps;
	int r = store_estimate(g->repo->store, COLL_CHUNKS, &chunks);

	if (r == 0)
		r = store_estimate(g->repo->store, COLL_MAPS, &maps);
	if (r < 0)
		return r;
	*ret_maps = maps.n;
	*ret_all = maps.n + chunks.n;
	return 0;
}

static int mark_and_condemn(struct gc_state *g)
{
	uint64_t n_maps, n_all;
	int r = count_documents(g, &n_maps, &n_all);
	unsigned n = r == 0 ? parts(g, n_all) : 0;

	for (unsigned i = 0; r == 0 && i < n; i++) {
		/* parts of few digests vary */
		uint64_t room = n_all / n + n_all / n / 8;

		g->byte_first = 256 / n * i;
		g->byte_last = 256 / n * (i + 1) - 1;
		r = bloom_new(room, bits(g, room), &g->bloom);
		if (r < 0)
			break;
		gc_phase(g, "marking", n_maps);
		r = gc_mark(g, &g->first);
		gc_phase(g, "looking", n_all / n);
		if (r == 0)
			r = gc_condemn(g);
		bloom_free(take(g->bloom));
	}
	/* what is condemned so far can go, and make space for the rest */
	if (r == -ENOSPC) {
		g->result.partial = true;
		r = 0;
	}
	return r;
}

/* What is of a writer's own generation or younger is not ours to judge. */
static int find_limit(struct gc_state *g)
{
	struct writers writers = { 0 };
	int r = writers_list(g->repo, &writers);

	if (r < 0)
		return r;
	g->limit = writers_lowest(&writers);
	if (g->limit > g->generation)
		g->limit = g->generation;
	writers_fini(&writers);
	return 0;
}

/* What the first listing had is marked. */
static void drop_marked(const struct gc_state *g, struct gc_root_list *roots)
{
	size_t n = 0;

	for (size_t i = 0; i < roots->n; i++)
		if (!digest_set_find(&g->marked, &roots->v[i].digest))
			roots->v[n++] = roots->v[i];
	roots->n = n;
}

static int save_since(struct gc_state *g)
{
	struct gc_roots again = { 0 };
	int r = gc_roots_again(g, &again);

	drop_marked(g, &again.live);
	drop_marked(g, &again.let_go);
	if (r == 0)
		r = gc_save(g, &again);
	gc_roots_fini(&again);
	return r;
}

static bool is_of_clone(const struct gc_state *g, const struct uuid *stream)
{
	for (size_t i = 0; i < g->first.streams.n; i++)
		if (memcmp(&g->first.streams.v[i], stream, sizeof(*stream)) ==
			0)
			return true;
	return false;
}

/* They were listed before the clones, whose documents come before them. */
static int remove_streams(struct gc_state *g, const struct streams *streams)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < streams->n; i++) {
		if (is_of_clone(g, &streams->v[i]))
			continue;
		r = stream_remove(g->repo->store, &streams->v[i]);
		g->result.n_streams += r == 0;
		/* whoever has it is about to remove it */
		if (r == -ENOENT || r == -EBUSY)
			r = 0;
	}
	return r;
}

static int remember_marked(struct gc_state *g)
{
	for (size_t i = 0; i < g->first.live.n; i++)
		if (digest_set_add(&g->marked, &g->first.live.v[i].digest, 0) <
			0)
			return -ENOMEM;
	return 0;
}

static int first_half(struct gc_state *g, struct streams *streams)
{
	int r = 0;

	/* what they stored can go at once then */
	if (!g->job->dry_run)
		r = writers_give_up_dead(g->repo, &g->result.n_given_up);
	if (r == 0 && g->job->dry_run)
		r = repo_generation(g->repo, &g->generation);
	else if (r == 0)
		r = repo_generation_next(g->repo, &g->generation);
	/* the next collection would be of a generation above this */
	if (g->job->dry_run)
		g->generation++;
	else
		g->result.generation = g->generation;
	if (r == 0)
		r = stream_list(g->repo->store, add_stream, streams);
	if (r == 0)
		r = gc_roots_first(g, &g->first);
	if (r == 0)
		r = remember_marked(g);
	if (r == 0)
		r = find_limit(g);
	g->result.n_points = g->first.users.points.n;
	g->result.n_clones = g->first.clones.n;
	return r < 0 ? r : mark_and_condemn(g);
}

static int second_half(struct gc_state *g, const struct streams *streams)
{
	struct store_count condemned;
	uint64_t enough, n_given_up = 0;
	int r = repo_generation_next(g->repo, &enough);

	gc_phase(g, "waiting", 0);
	if (r == 0)
		r = writers_wait(g->repo, enough, g->job->patience,
			g->job->cancel, &n_given_up);
	g->result.n_given_up += n_given_up;
	gc_phase(g, "saving", 0);
	if (r == 0)
		r = save_since(g);
	if (r == 0)
		r = store_estimate(g->repo->store, COLL_CONDEMNED, &condemned);
	if (r < 0)
		return r;
	gc_phase(g, "sweeping", condemned.n);
	r = gc_sweep(g);
	if (r == 0)
		r = gc_bury(g);
	if (r == 0)
		r = remove_streams(g, streams);
	return r < 0 ? r : store_sync(g->repo->store);
}

static int compact(struct gc_state *g)
{
	if (g->job->dry_run)
		return 0;
	gc_phase(g, "compacting", 0);
	return store_compact(g->repo->store, &g->progress->done,
		&g->progress->total, g->job->cancel, &g->result.space);
}

static void state_fini(struct gc_state *g)
{
	if (g->bloom)
		bloom_free(g->bloom);
	gc_roots_fini(&g->first);
	digest_set_fini(&g->marked);
	quarantine_fini(&g->idle);
}

static int cycle(const struct gc *job, struct gc_result *ret)
{
	struct gc_progress nobody = { 0 };
	struct gc_state g = { .job = job,
		.repo = job->repo,
		.n_threads = job->n_threads ? job->n_threads
					    : store_threads(job->repo->store),
		.progress = job->progress ? job->progress : &nobody };
	struct streams streams = { 0 };
	int r = first_half(&g, &streams);

	if (r == 0 && !job->dry_run)
		r = second_half(&g, &streams);
	if (r == 0)
		r = compact(&g);
	*ret = g.result;
	vec_fini(&streams);
	state_fini(&g);
	return r;
}

/* NEXT is of the cycle after those of SUM. */
static void sum_up(struct gc_result *sum, const struct gc_result *next)
{
	struct gc_result r = *next;

	r.n_buried += sum->n_buried;
	r.n_retired += sum->n_retired;
	r.n_chunks += sum->n_chunks;
	r.n_chunk_bytes += sum->n_chunk_bytes;
	r.n_map_docs += sum->n_map_docs;
	r.n_map_bytes += sum->n_map_bytes;
	r.n_saved += sum->n_saved;
	r.n_given_up += sum->n_given_up;
	r.n_streams += sum->n_streams;
	r.space.n_removed += sum->space.n_removed;
	r.space.freed += sum->space.freed;
	r.space.moved += sum->space.moved;
	*sum = r;
}

/* Where space is short each cycle makes some for the next. */
int gc(const struct gc *job, struct gc_result *ret)
{
	struct gc_result sum = { 0 }, next;
	int r;

	do {
		r = cycle(job, &next);
		sum_up(&sum, &next);
	} while (r == 0 && next.partial && next.n_chunks + next.n_map_docs > 0);
	if (r == -ENOSPC || (r == 0 && sum.partial))
		return fail(ENOSPC, "%s: %m", job->repo->url);
	if (r == 0)
		*ret = sum;
	return r;
}

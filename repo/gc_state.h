/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gc_state - what the steps of one collection have in common.
 */
#ifndef HIVEFS_GC_STATE_H
#define HIVEFS_GC_STATE_H

#include "repo/bloom.h"
#include "repo/clone.h"
#include "repo/damage.h"
#include "repo/gc.h"
#include "repo/quarantine.h"

struct gc_root {
	struct digest digest;
	unsigned level;
};

struct gc_clone {
	struct uuid id;
	struct vec(struct retired_root) gone; /* retired when it was listed */
};

struct gc_root_list vec(struct gc_root);

/* What there was when it was listed. */
struct gc_roots {
	struct gc_root_list live;
	/* what clones have let go of since the first listing; see gc_save() */
	struct gc_root_list let_go;
	struct vec(struct point_id) points; /* all but tombstones, sorted */
	struct vec(struct point_id) dead;   /* of those: removed */
	struct vec(struct gc_clone) clones;
	struct vec(struct uuid) streams; /* of clones */
	struct damage_users users;       /* live */
};

struct gc_state {
	const struct gc *job;
	struct repo *repo;
	unsigned n_threads;
	uint64_t generation; /* G */
	uint64_t limit;      /* only what is of a lower generation may go */
	struct gc_roots first;
	struct digest_set marked; /* the roots that were */
	struct bloom *bloom;      /* of digests whose first byte is in: */
	unsigned byte_first, byte_last;
	struct gc_progress *progress;
	struct quarantine idle; /* digests in quarantine that nothing reaches */
	struct gc_result result;
};

static inline int gc_cancelled(const struct gc_state *g)
{
	return g->job->cancel && atomic_load(g->job->cancel) ? -ECANCELED : 0;
}

static inline void gc_phase(
	struct gc_state *g, const char *name, uint64_t total)
{
	g->progress->done = 0;
	g->progress->total = total;
	if (g->job->phase)
		g->job->phase(g->job->arg, name);
}

/* The part of the digests that is being looked at. */
static inline bool gc_in_part(const struct gc_state *g, const struct digest *d)
{
	return d->b[0] >= g->byte_first && d->b[0] <= g->byte_last;
}

#endif

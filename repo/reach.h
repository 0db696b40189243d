/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reach - every map that roots lead to, read and checked once; and whether
 * every chunk those name is there, unless somebody else asks about those.
 *
 * Maps are read level by level from the roots down, each level being the set
 * of digests that the one above named. So a map that stands where another
 * level belongs fails its check there, and all of a level are read in parallel.
 * The set is exact: a filter that erred would leave all below a map unseen.
 *
 * Ownership  reach_new() returns owned; borrows the repo and the damage.
 * Threads    one thread at a time; it runs threads of its own.
 * Memory     about 60 bytes a distinct map. Chunks are looked up for every
 *            leaf that names them: a set of them would be 64 times as large.
 */
#ifndef HIVEFS_REACH_H
#define HIVEFS_REACH_H

#include <stdatomic.h>
#include <stdbool.h>

#include "repo/damage.h"

struct reach;

/* Called on any thread; other than 0 ends the run with that value. */
struct reach_visitor {
	int (*map)(void *arg, const struct digest *map);
	/* that one or several leaves name; instead of looking them up */
	int (*chunks)(void *arg, const struct key *chunks, size_t n);
	void *arg;
	_Atomic uint64_t *done; /* counts up by one a map */
};

/* CANCEL as in verify.h. VISITOR may be NULL. */
int must_check reach_new(struct repo *repo, unsigned n_threads,
	const _Atomic bool *cancel, struct damage *damage,
	const struct reach_visitor *visitor, struct reach **ret);
void reach_free(struct reach *c);
DEFINE_CLEANUP(struct reach *, reach_free);

/* A root of LEVEL; the absent digest leads nowhere. */
int must_check reach_add(
	struct reach *c, const struct digest *root, unsigned level);

/*
 * Once, after the last root. What is damaged or missing goes to the damage.
 * Chunks are counted as often as distinct leaves name them.
 */
int must_check reach_run(
	struct reach *c, uint64_t *ret_maps, uint64_t *ret_chunks);

#endif

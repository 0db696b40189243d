/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mapbuild - a disk's map from its leaves, in one pass, over the parent's map:
 * what packs to the parent's digest at the same place is taken over unwritten.
 *
 * Ownership  borrows everything it is given.
 * Threads    one thread at a time.
 */
#ifndef HIVEFS_MAPBUILD_H
#define HIVEFS_MAPBUILD_H

#include "repo/batch.h"
#include "repo/map.h"
#include "repo/quarantine.h"

/*
 * The parent's map, read node by node as it is asked for, in rising order of
 * windows best. What cannot be read counts as absent: a backup then stores
 * it anew, which is what heals it. Whoever keeps parts of the map must ask for
 * map_base_error() before it relies on any answer.
 */
struct map_base;
int must_check map_base_new(struct repo *r, const struct digest *root,
	uint64_t size, struct map_base **ret);
void map_base_free(struct map_base *b);
DEFINE_CLEANUP(struct map_base *, map_base_free);

/* Digest of the map of LEVEL at INDEX (window number / 256^level). */
struct digest map_base_digest(
	struct map_base *b, unsigned level, uint64_t index);

/* 0, or why some map could not be read. */
int must_check map_base_error(const struct map_base *b);

struct map_builder;

/*
 * WRITER and BATCH are NULL in a dry run. What is not added is absent, or, if
 * KEEP, as it is in the base.
 */
int must_check map_builder_new(uint64_t size, bool keep, struct map_base *base,
	const struct quarantine *q, struct writer *w, struct batch *batch,
	struct map_builder **ret);
void map_builder_free(struct map_builder *m);
DEFINE_CLEANUP(struct map_builder *, map_builder_free);

/*
 * Leaves in rising order of windows. Absent ones may be left out, unless they
 * take the place of one that would be kept.
 */
int must_check map_builder_add(
	struct map_builder *m, uint64_t window, const struct digest *leaf);
int must_check map_builder_finish(
	struct map_builder *m, struct digest *ret_root);

#endif

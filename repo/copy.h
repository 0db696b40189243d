/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy - points of one repository into another, as they are: the same id, so
 * the same time and alias, the same document, tags, bookmarks and hold.
 *
 *   per point: register as a writer there -> carry what its maps name ->
 *   label -> sync -> publish
 *
 * A point is there whole or not at all, and once only whoever copies it: its
 * key is its own. One that was removed there stays removed. What a copy that
 * was killed has brought is found there by the next one.
 *
 * Threads    one call at a time; it runs threads of its own.
 * Memory     that of carry.h, and 100 bytes a point.
 */
#ifndef HIVEFS_COPY_H
#define HIVEFS_COPY_H

#include <stdatomic.h>
#include <stdbool.h>

#include "repo/carry.h"
#include "repo/point.h"

enum copy_outcome {
	COPY_DONE,    /* or would be */
	COPY_THERE,   /* its marks and hold were brought up to date */
	COPY_REMOVED, /* it was there once */
	COPY_DAMAGED, /* here: it is not published there */
	COPY_REFUSED, /* its machine's name is another machine's there */
	COPY_GONE,    /* from here, meanwhile */
	COPY_OUTCOMES
};

/* Bytes of disks; read by a progress display meanwhile. */
struct copy_progress {
	_Atomic uint64_t done, total;
};

struct copy_ids vec(struct point_id);

struct copy {
	struct repo *from, *to;
	bool dry_run;
	unsigned n_threads; /* 0: as fits */
	uint64_t limit;     /* bytes a second; 0: none */
	struct copy_progress *progress;
	const _Atomic bool *cancel; /* NULL, or true to stop: -ECANCELED */
	/*
	 * After each point, in their order. Of a damaged
	 * one perhaps only the id is known.
	 */
	void (*visit)(void *arg, const struct point *p,
		enum copy_outcome outcome, const struct carry_stats *stats);
	void *arg;
};

struct copy_result {
	uint64_t n[COPY_OUTCOMES];
	uint64_t n_gone;   /* chunks and maps that were lost there */
	uint64_t n_labels; /* that were changed of points that were there */
	struct carry_stats sent;
};

/*
 * IDS are sorted by machine and time, and each is copied once. Damage and names
 * that are taken count, all else ends it; RET is set in either case.
 */
int must_check copy_points(
	const struct copy *job, struct copy_ids *ids, struct copy_result *ret);

#endif

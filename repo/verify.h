/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify - is everything there, and is it what it was?
 *
 * 1. Every document of machines, points and labels decodes, and the store's
 *    count of them agrees with the listing. 2. Every map that a point reaches
 * is read, re-hashed and checked, once. 3. Every chunk those name exists. 4.
 * Every chunk in the store is decoded and re-hashed, in the order that reads
 *    fastest. Then, if anything was damaged, the maps are walked again to say
 *    which bytes of which disks it was.
 *
 * Others may write meanwhile: what is published after it has begun is not
 * looked at, and what a removed point took with it is not missed.
 */
#ifndef HIVEFS_VERIFY_H
#define HIVEFS_VERIFY_H

#include <stdatomic.h>
#include <stdbool.h>

#include "repo/point.h"

struct verify_progress {
	_Atomic uint64_t done, total; /* bytes of chunk bodies */
};

/* One range of one disk that cannot be read. */
struct verify_damage {
	const struct point *point;
	const char *disk;
	uint64_t off, len;
	const char *what; /* "chunk" or "map" */
	const struct digest *digest;
	const char *why; /* "missing", "damaged" */
};

struct verify {
	struct repo *repo;
	bool metadata_only; /* steps 1 to 3 */
	unsigned n_threads; /* 0: as fits this host */
	struct verify_progress *progress;
	const _Atomic bool *cancel; /* NULL, or true to stop: -ECANCELED */
	/* called from one thread at a time; may be NULL */
	void (*damage)(void *arg, const struct verify_damage *d);
	void *arg;
};

struct verify_result {
	uint64_t n_points, n_disks; /* that could be read */
	uint64_t n_maps;            /* distinct ones that those reach */
	/* stored and re-hashed; of metadata only, named by leaves */
	uint64_t n_chunks;
	uint64_t bytes; /* of chunk bodies that were re-hashed */
	/*
	 * Documents that are damaged, used by a point or not, or missing and
	 * used; and listings that disagree with the store's count.
	 */
	uint64_t n_damaged;
	uint64_t n_ranges; /* times damage() was called */
};

/* 0 also if damage was found: that is result->n_damaged > 0. */
int must_check verify(const struct verify *job, struct verify_result *ret);

#endif

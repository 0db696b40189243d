/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify - is everything there, and is it what it was?
 *
 * 1. Every document of machines, points, labels and clones decodes, and the
 *    store's count of them agrees with the listing.
 * 2. Every record of the clones' streams is what it was.
 * 3. Every map that a point or a clone reaches is read, re-hashed and checked,
 *    once.
 * 4. Every chunk those name exists.
 * 5. Every chunk in the store is decoded and re-hashed, in the order that reads
 *    fastest.
 * Then, if anything was damaged, the maps are walked again to say which bytes
 * of which disks it was, and what is damaged or missing is moved to the
 * quarantine (heal.h), if that is asked for and the index agrees with itself.
 *
 * Others may write meanwhile: what is published after it has begun is not
 * looked at, and what a removed point took with it is not missed.
 */
#ifndef HIVEFS_VERIFY_H
#define HIVEFS_VERIFY_H

#include <stdatomic.h>
#include <stdbool.h>

#include "repo/clone.h"

struct verify_progress {
	_Atomic uint64_t done, total; /* bytes of chunk bodies */
};

/* One range of one disk that cannot be read. */
struct verify_damage {
	const struct point *point; /* NULL: of a clone */
	const struct clone *clone;
	const char *disk;
	uint64_t off, len;
	const char *what;            /* "chunk", "map" or "stream" */
	const struct digest *digest; /* NULL: of a stream */
	const char *why;             /* "missing", "damaged" */
};

struct verify {
	struct repo *repo;
	bool metadata_only; /* steps 1, 3 and 4 */
	bool heal;          /* not of metadata only */
	/*
	 * Of the chunks only a part, those that were verified longest ago
	 * first: so many of STAMPS parts (0: all), those not verified for so
	 * many seconds (0: all), none begun after so many (0: no bound).
	 */
	unsigned parts;
	int64_t older_than;
	unsigned max_seconds;
	/* those that the newest points need come first, and what nothing needs
	 * not at all; notes no times, as these are of whole parts */
	bool newest_first;
	unsigned n_threads; /* 0: as fits this host */
	struct verify_progress *progress;
	const _Atomic bool *cancel; /* NULL, or true to stop: -ECANCELED */
	/* called from one thread at a time; may be NULL */
	void (*damage)(void *arg, const struct verify_damage *d);
	void *arg;
};

struct verify_result {
	uint64_t n_points, n_clones; /* that could be read */
	uint64_t n_disks;            /* of points */
	uint64_t n_maps;             /* distinct ones that those reach */
	/* stored and re-hashed; of metadata only, named by leaves */
	uint64_t n_chunks;
	uint64_t bytes; /* of chunk bodies that were re-hashed */
	/*
	 * Documents that are damaged, used by a point or not, or missing and
	 * used; streams; and listings that disagree with the store's count.
	 */
	uint64_t n_damaged;
	uint64_t n_ranges;      /* times damage() was called */
	uint64_t n_quarantined; /* of n_damaged: moved to the quarantine */
	uint64_t n_healed;      /* were in it and are whole again */
	bool index_bad;    /* it lists others than it counts: to be rebuilt */
	unsigned n_parts;  /* of STAMPS, whose chunks were re-hashed */
	uint64_t n_newest; /* of newest_first: points, all of which was read */
};

/* 0 also if damage was found: that is result->n_damaged > 0. */
int must_check verify(const struct verify *job, struct verify_result *ret);

#endif

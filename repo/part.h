/* SPDX-License-Identifier: Apache-2.0 */
/*
 * part - the stored chunks whose digests begin with certain bytes, in the place
 * of a walk over all. Slower a chunk than that: they lie everywhere.
 */
#ifndef HIVEFS_PART_H
#define HIVEFS_PART_H

#include "repo/repo.h"

struct part {
	struct repo *repo;
	const uint8_t *bytes; /* the first ones of digests */
	unsigned n;
	unsigned n_threads;
	unsigned max_seconds; /* 0: no bound; else no part is begun later */
	store_walk_visit visit;
	void *arg;
	/* now and then, while no visit runs: `done` is of whole parts; NULL:
	 * nobody wants to know */
	void (*pause)(void *arg);
	bool done[256]; /* set, by first byte */
};

/* Errors as of store_walk(). */
int must_check part_walk(struct part *p);

#endif

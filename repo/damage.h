/* SPDX-License-Identifier: Apache-2.0 */
/*
 * damage - chunks and maps that are damaged or missing, and which bytes of
 * which disks that means.
 *
 * What is missing is damage only if a point or clone that is still there
 * reaches it: it may be removed, and its chunks collected, while verify runs.
 *
 * Threads    damage_add(): any thread; the rest: one thread, after those.
 */
#ifndef HIVEFS_DAMAGE_H
#define HIVEFS_DAMAGE_H

#include <pthread.h>

#include "repo/digest_set.h"
#include "repo/map.h"
#include "repo/verify.h"

enum damage_flags {
	/* 1 << level: a map that is damaged where one of that level belongs */
	DAMAGE_ANY_LEVEL = (1 << MAP_LEVELS_MAX) - 1,
	DAMAGE_CHUNK = 1, /* the same, of a chunk */
	DAMAGE_MISSING = 1 << MAP_LEVELS_MAX,
	DAMAGE_REACHED = DAMAGE_MISSING << 1, /* by a disk, and reported */
};

struct damage {
	pthread_mutex_t lock;
	struct digest_set chunks, maps; /* lock */
};

void damage_init(struct damage *d);
void damage_fini(struct damage *d);

int must_check damage_add(struct damage *d, enum coll coll,
	const struct digest *digest, unsigned flags);

/* Takes back what was missing and is there now: a backup has healed it. */
int must_check damage_recheck(struct damage *d, struct repo *r);

/* Is anything damaged or missing? */
bool damage_any(const struct damage *d);

/* What may reach damage. */
struct damage_users {
	struct vec(struct point_id) points;
	struct vec(struct uuid) clones;
};

/*
 * Calls job->damage() for every range of their disks. What else turns out to be
 * damaged on the way is added.
 */
int must_check damage_report(struct damage *d, const struct verify *job,
	const struct damage_users *users, uint64_t *ret_ranges);

/*
 * Visits the documents that are damaged, or missing and reached. A visit that
 * returns other than 0 ends it with that value.
 */
int must_check damage_each(const struct damage *d,
	int (*visit)(void *arg, enum coll coll, const struct digest *digest),
	void *arg);

/* Their number. */
uint64_t damage_count(const struct damage *d);

/* The same; logs those that are missing. */
uint64_t damage_log(const struct damage *d, struct repo *r);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * glance - how much is in disks of clones that are not ours. To know it, a
 * disk's stream is read; stat(2) asks often, so it is remembered for a second.
 *
 * Threads    any thread; no lock is held across I/O.
 * Errors     of peek.h.
 */
#ifndef HIVEFS_GLANCE_H
#define HIVEFS_GLANCE_H

#include <pthread.h>

#include "repo/clone.h"

struct cache;
struct live;

/* Of views that have a length of their own, by their format's number. */
#define LENGTHS_MAX 8
#define LENGTH_NONE UINT64_MAX
struct glance_lengths {
	uint64_t v[LENGTHS_MAX];
};
struct glance_lengths glance_lengths(struct live *l);

struct seen {
	uint64_t data; /* live_data() */
	struct glance_lengths lengths;
};

#define N_GLANCES 64

struct glance {
	struct uuid clone;
	size_t disk;
	uint64_t version; /* of the clone; 0: none */
	int64_t when;     /* milliseconds, monotonic */
	struct seen seen; /* then */
};

struct glances {
	pthread_mutex_t lock;
	struct glance v[N_GLANCES]; /* lock */
	unsigned next;              /* lock */
	uint64_t n_forgotten;       /* lock */
};

void glances_init(struct glances *g);
void glances_fini(struct glances *g);

/* Disk number DISK of C. */
int must_check glance_disk(struct glances *g, struct cache *cache,
	const struct clone *c, size_t disk, struct seen *ret);

/* It was ours for a while: who asks now sees what was written meanwhile. */
void glance_forget(struct glances *g, const struct uuid *clone);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rate - how long to wait so that so many bytes a second are not exceeded.
 *
 * Units      bytes; seconds of monotonic.h.
 * Threads    any thread.
 */
#ifndef HIVEFS_RATE_H
#define HIVEFS_RATE_H

#include <pthread.h>
#include <stdint.h>

struct rate {
	uint64_t per_second; /* 0: there is no limit */
	pthread_mutex_t lock;
	double next; /* lock; when what was taken so far has had its time */
};

void rate_init(struct rate *r, uint64_t per_second);
void rate_fini(struct rate *r);

/*
 * LEN bytes were moved: the time until which their mover has to wait, 0 if it
 * has not. Time in which nothing was moved is not made up for.
 */
double rate_take(struct rate *r, uint64_t len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * monotonic - time since some moment, for how long something takes: it is never
 * set back, and is nothing to another host or after a restart.
 *
 * Threads    any thread.
 */
#ifndef HIVEFS_MONOTONIC_H
#define HIVEFS_MONOTONIC_H

#include <stdint.h>
#include <time.h>

static inline double monotonic_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline int64_t monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock - a library to be loaded before a program: the time of day is what it
 * is plus $CLOCK_SHIFT seconds. Nothing else is changed, monotonic time least
 * of all.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

static time_t shift(void)
{
	const char *s = getenv("CLOCK_SHIFT");

	return s ? (time_t)strtoll(s, NULL, 10) : 0;
}

PUBLIC int clock_gettime(clockid_t clock, struct timespec *t)
{
	int r = (int)syscall(SYS_clock_gettime, clock, t);

	if (r == 0 &&
		(clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		t->tv_sec += shift();
	return r;
}

PUBLIC time_t time(time_t *ret)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	if (ret)
		*ret = t.tv_sec;
	return t.tv_sec;
}

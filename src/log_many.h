/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_many - errors of which one cause can make thousands: a segment that is
 * gone, say. The first few of a minute are logged one by one, and how many more
 * there were when the next one comes, or at the end.
 *
 * Threads    any thread.
 */
#ifndef HIVEFS_LOG_MANY_H
#define HIVEFS_LOG_MANY_H

#include <stdbool.h>

#define LOG_MANY_SAID 10 /* of each kind a minute */

/* One kind of message; static, and only `what` is the caller's. */
struct log_many {
	const char *what; /* "damaged documents" */
	bool known;
	long minute; /* since some time in the past */
	unsigned n;  /* in that minute */
	struct log_many *next;
};

/* As fail(), and as log_error() where the caller has another value. */
int fail_many(struct log_many *kind, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Says how many were left out, of each kind. */
void log_many_end(void);

#endif

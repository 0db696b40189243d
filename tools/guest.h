/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest - a machine that runs in QEMU: to its end, or until it says on its
 * console what it is waited for.
 *
 * Threads    one thread.
 */
#ifndef HIVEFS_GUEST_H
#define HIVEFS_GUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "src/cleanup.h"

/* To its end, on our terminal. -EIO, logged, unless it ended well. */
int must_check guest_run(const char *const *command);

struct guest_line {
	bool up;           /* it said so */
	char text[512];    /* the line, or the last one that it said */
	char before[512];  /* the one before that */
	char error[512];   /* the last line of QEMU itself, which is no guest */
	const char *ended; /* how, if not up; for messages */
};

/*
 * Until a line of its console contains TEXT, it ends, or SECONDS have passed;
 * then it is killed. -ECANCELED after a signal (cancel.h).
 */
int must_check guest_watch(const char *const *command, const char *text,
	unsigned seconds, struct guest_line *ret);

#endif

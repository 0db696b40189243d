/* SPDX-License-Identifier: Apache-2.0 */
/*
 * child - other programs that a verb runs, hivefs itself among them.
 *
 * Threads    one thread; none may have been started.
 * Errors     logged; -EIO of a program that ended badly.
 */
#ifndef HIVEFS_CHILD_H
#define HIVEFS_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "src/cleanup.h"

/* argv[0] that stands for the program we are. */
#define CHILD_SELF "hivefs"

/*
 * Runs ARGV, which ends with NULL, to its end: its exit code, 128 + a signal,
 * 127 if it could not be started. QUIET: what it says is lost.
 */
int child_run(const char *const *argv, bool quiet);

/*
 * Starts ARGV, which dies with us; its output goes to OUT, its errors to ERR,
 * and it reads nothing, unless both are -1: then it has our terminal.
 */
int must_check child_start(
	const char *const *argv, int out, int err, pid_t *ret);

/* The exit code, as above, of what was started. */
int child_wait(pid_t pid);

#endif

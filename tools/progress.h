/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress - one line on a terminal, rewritten five times a second, about work
 * that counts what it has done in atomics. There is one at a time.
 */
#ifndef HIVEFS_PROGRESS_H
#define HIVEFS_PROGRESS_H

#include <stdatomic.h>
#include <stdint.h>

struct cli;

/*
 * Shows bytes DONE of TOTAL, both borrowed until progress_end(). Shows nothing
 * unless stderr is a terminal, nor with --quiet, --json or --progress never.
 */
void progress_begin(const struct cli *c, const char *what,
	const _Atomic uint64_t *done, const _Atomic uint64_t *total);

/* The line goes away. Does nothing if there is none. */
void progress_end(void);

/* Around other output to the terminal, from any thread. */
void progress_hide(void);
void progress_unhide(void);

#endif

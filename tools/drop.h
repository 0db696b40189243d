/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drop - clones go: one that somebody wants to be rid of, and temporary ones
 * that were left behind.
 *
 * Threads    one thread.
 */
#ifndef HIVEFS_DROP_H
#define HIVEFS_DROP_H

#include "repo/clone.h"
#include "tools/cli.h"

/* C, which nobody has open: -EBUSY, logged. */
int must_check drop_clone(
	const struct cli *cli, struct repo *r, struct clone *c);

/*
 * The temporary ones whose process is gone, which is what a boot test leaves
 * that was killed with all its helpers, or lost its power. One that is open
 * somewhere stays. What fails is logged: the next call does it.
 */
void drop_abandoned(const struct cli *cli, struct repo *r);

#endif

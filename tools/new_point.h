/* SPDX-License-Identifier: Apache-2.0 */
/*
 * new_point - what a verb says of the point it made: a line and a table of its
 * disks, or the summary of --json.
 *
 * Threads    one thread.
 */
#ifndef HIVEFS_NEW_POINT_H
#define HIVEFS_NEW_POINT_H

#include "repo/point.h"
#include "tools/cli.h"

struct new_point {
	struct repo *repo;
	const struct point *point;
	double seconds;    /* that it took */
	bool dry_run;      /* and so was not stored */
	const char *clone; /* that it was committed from, or NULL */
};

void new_point_print(const struct cli *c, const struct new_point *n);

#endif

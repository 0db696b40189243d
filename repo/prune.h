/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prune - removes the points that a policy does not keep. What it removes is
 * gone as by rm: its space is gc's affair.
 *
 * Threads    one thread.
 * Errors     -EPERM, logged, where the clock cannot be right (clock.h).
 */
#ifndef HIVEFS_PRUNE_H
#define HIVEFS_PRUNE_H

#include "repo/point.h"
#include "repo/policy.h"

/*
 * The policy that is stored for MACHINE (NULL: for all that have none of their
 * own). -ENOENT, quietly.
 */
int must_check policy_load(
	struct repo *r, const struct uuid *machine, struct policy *ret);
int must_check policy_store(
	struct repo *r, const struct uuid *machine, const struct policy *p);

/* Called for each point, oldest first; what is not kept is removed by then. */
typedef int (*prune_visit)(
	void *arg, const struct point *p, bool keep, const char *why);

struct prune {
	struct repo *repo;
	struct uuid machine;
	const struct policy *policy;
	int64_t now; /* seconds since 1970, UTC */
	bool dry_run;
	prune_visit visit;
	void *arg;
};

int must_check prune(const struct prune *job);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock - may this host's clock be believed? What it ends, the hold of a point
 * or the time that points are kept for, is gone for good; a clock that jumped
 * ahead must not do that.
 */
#ifndef HIVEFS_CLOCK_H
#define HIVEFS_CLOCK_H

#include "repo/repo.h"

#define CLOCK_AHEAD_MAX (24 * 3600)

/*
 * -EPERM, logged, if the clock is more than a day ahead of the newest time that
 * any point has, unless r->trust_clock.
 */
int must_check repo_check_clock(struct repo *r);

#endif

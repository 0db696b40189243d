/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bookmark - names of points, of which a machine has each once.
 *
 * Threads    any thread.
 */
#ifndef HIVEFS_BOOKMARK_H
#define HIVEFS_BOOKMARK_H

#include "repo/label.h"

/*
 * MARK is a bookmark with its #. It is taken from all other points of the
 * machine than TO, once that has it. -EBADMSG if a point could not be read.
 */
int must_check bookmark_take(
	struct repo *r, const struct point_id *to, const char *mark);

#endif

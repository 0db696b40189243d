/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_walk - every document of a collection in the order the segments hold
 * them, several segments at once.
 */
#ifndef HIVEFS_STORE_WALK_H
#define HIVEFS_STORE_WALK_H

#include "repo/embedded.h"

int must_check embedded_walk(struct store *s, enum coll c, unsigned n_threads,
	store_walk_visit visit, void *arg);

#endif

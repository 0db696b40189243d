/* SPDX-License-Identifier: Apache-2.0 */
/*
 * newest - the chunks that points need, those of the newest point first, then
 * what the one before it needs besides, and so on; at last those of clones.
 * What nothing needs is not read.
 *
 * Memory     60 bytes a distinct map, and 64 MiB for chunks that were read: of
 *            those beyond it some are read twice.
 */
#ifndef HIVEFS_NEWEST_H
#define HIVEFS_NEWEST_H

#include "repo/damage.h"

struct newest {
	struct repo *repo;
	const struct damage_users *users;
	const bool *parts; /* 256: which first bytes of digests */
	unsigned n_threads;
	unsigned max_seconds; /* 0: no bound; else nothing is begun later */
	const _Atomic bool *cancel;
	store_walk_visit visit;
	void *arg;
	uint64_t n_points; /* set: the newest ones, of which all was read */
};

/*
 * Errors as of store_walk(). Maps that cannot be read are passed over: whoever
 * calls this has found them.
 */
int must_check newest_walk(struct newest *n);

#endif

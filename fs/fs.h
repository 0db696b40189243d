/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fs - a repository as a file system: what its parts share while it is served.
 */
#ifndef HIVEFS_FS_H
#define HIVEFS_FS_H

#include <pthread.h>
#include <stdatomic.h>

#include "fs/branch.h"
#include "fs/control.h"
#include "fs/prefetch.h"
#include "fs/tree.h"
#include "repo/cache.h"

struct handle;

struct fs {
	struct repo *repo;
	struct cache *cache;
	struct branches branches;
	struct foreigns foreigns;
	struct prefetch prefetch;
	struct tree tree;
	struct commits commits;
	_Atomic uint64_t n_read_errors; /* reads that were answered with one */
	pthread_mutex_t lock;
	struct handle *handles; /* lock; all that are open */
	/* called once, when the kernel has been told what we can do */
	void (*ready)(void *arg);
	void *ready_arg;
};

/*
 * Borrows R, which is open; CACHE_BOUND in bytes; PLACE is where it will be
 * mounted.
 */
int must_check fs_init(
	struct fs *fs, struct repo *r, uint64_t cache_bound, const char *place);

/*
 * Also frees what the kernel left open, so that all that was written to clones
 * is synced. No request is under way any more.
 */
void fs_fini(struct fs *fs);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fs - a repository as a file system: what its parts share while it is served.
 */
#ifndef HIVEFS_FS_H
#define HIVEFS_FS_H

#include <pthread.h>
#include <stdatomic.h>

#include "fs/prefetch.h"
#include "fs/tree.h"
#include "repo/cache.h"

struct handle;

struct fs {
	struct repo *repo;
	struct cache *cache;
	struct prefetch prefetch;
	struct tree tree;
	_Atomic uint64_t n_read_errors; /* reads that were answered with one */
	pthread_mutex_t lock;
	struct handle *handles; /* lock; all that are open */
	/* called once, when the kernel has been told what we can do */
	void (*ready)(void *arg);
	void *ready_arg;
};

/* Borrows R, which is open; CACHE_BOUND in bytes. */
int must_check fs_init(struct fs *fs, struct repo *r, uint64_t cache_bound);

/* Also frees what the kernel left open. No request is under way any more. */
void fs_fini(struct fs *fs);

#endif

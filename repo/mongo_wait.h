/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongo_wait - says, once, that no server answers while everything waits for
 * one, and that one answers again. Without it a program that is started while
 * its server is down would be silent for half a minute.
 *
 * Threads    the library's; set up before there are any.
 */
#ifndef HIVEFS_MONGO_WAIT_H
#define HIVEFS_MONGO_WAIT_H

#include <mongoc/mongoc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct mongo_wait {
	const char *name;      /* borrowed: of the store, for messages */
	int64_t limit;         /* ms until the first connection is given up */
	_Atomic int64_t since; /* ms, monotonic; 0: a server answers */
	_Atomic bool said, was_there, over;
};

/* From now on for all clients of POOL, which has none yet. */
void mongo_wait_begin(struct mongo_wait *w, mongoc_client_pool_t *pool);

/* Says nothing any more: nobody waits. */
void mongo_wait_end(struct mongo_wait *w);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peek - a disk of a clone that somebody else may be writing to, as it was when
 * it was looked at.
 *
 * Ownership  a `struct peek` owns what it shows: peek_fini().
 * Threads    any thread, but init and fini.
 * Errors     -ENOENT, quietly, if there is no such clone or disk; of live.h.
 */
#ifndef HIVEFS_PEEK_H
#define HIVEFS_PEEK_H

#include <pthread.h>

#include "repo/live.h"

struct shot;

struct peek {
	struct cache *cache;
	struct uuid clone;
	size_t disk;
	uint64_t size;
	uint32_t sector_size;
	pthread_mutex_t lock;
	struct shot *shot; /* lock */
};

/* Borrows the cache. */
int must_check peek_init(
	struct peek *p, struct cache *c, const struct uuid *clone, size_t disk);
void peek_fini(struct peek *p);

/*
 * As live_read() and live_extent(). Where the clone's owner has folded what we
 * saw, the disk is looked at anew.
 */
int must_check peek_read(
	struct peek *p, uint64_t off, uint32_t len, struct pieces *ret);
int must_check peek_extent(
	struct peek *p, uint64_t off, uint64_t end, struct blk_extent *ret);

/* As live_prefetch(). */
void peek_prefetch(struct peek *p, uint64_t off, uint64_t len);

/* What its views keep beside it, as it was when it was looked at: side.h. */
void peek_read_side(
	struct peek *p, uint8_t space, uint64_t off, size_t len, uint8_t *buf);
bool peek_length(struct peek *p, uint8_t space, uint64_t *ret);
bool peek_any(struct peek *p, uint8_t space, uint64_t off, uint64_t end);

/* Disk number DISK of C as it is now, without owning it; -ESTALE as there. */
int must_check peek_open(struct cache *c, const struct clone *clone,
	size_t disk, struct live **ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard - a part of the cache with a lock of its own: entries by digest, and
 * the fetches under way for those that are not there. See cache.h.
 *
 * A fetch is a `flight`: whoever else wants its digest waits until it has
 * landed, on the shard's condition variable. That variable and the one in
 * src/pool.c are the only ones: waiting on a mutex that the fetching thread
 * holds would be a lock held across store I/O.
 *
 * Ownership  borrows its memory. An entry is referenced: shard_put().
 * Threads    any thread; a flight belongs to the thread that got it.
 */
#ifndef HIVEFS_SHARD_H
#define HIVEFS_SHARD_H

#include <pthread.h>
#include <stdalign.h>
#include <stdbool.h>

#include "repo/arena.h"
#include "repo/cache.h"

struct shard_entry {
	struct slot slot; /* must come first */
	struct cached pub;
	struct shard_entry *chain; /* shard->lock; of its bucket */
	uint8_t level;             /* of a map */
	bool apart;                /* not in the arena: freed by the last put */
	bool listed;               /* shard->lock; in its bucket */
	alignas(16) uint8_t bytes[];
};

struct flight {
	struct digest digest; /* these two are for whoever fetches */
	unsigned level;
	struct flight *next; /* shard->lock, and all below */
	bool landed;
	unsigned waiters;
	int result; /* 0 and an entry; an error; 1: try for yourself */
	struct shard_entry *entry;
};

struct shard {
	pthread_mutex_t lock; /* no other is taken while it is held */
	pthread_cond_t landed;
	struct arena arena;           /* lock */
	struct shard_entry **buckets; /* lock */
	size_t mask;                  /* immutable */
	struct flight *flights; /* lock; few: looked through on a miss only */
	uint64_t hits, misses;  /* lock */
};

/* MEMORY is zeroed, and of 4096 bytes at least. */
void shard_init(struct shard *s, uint8_t *memory, size_t len);
void shard_fini(struct shard *s);

/*
 * 0 and an entry; or a negative error that another thread's fetch met; or 1
 * and a flight: the caller is to fetch it, and to land it whatever comes.
 */
int must_check shard_get(struct shard *s, const struct digest *d,
	unsigned level, struct shard_entry **ret, struct flight **ret_flight);

/* The entry, if it is there; NULL else. */
struct shard_entry *shard_peek(struct shard *s, const struct digest *d);

/* A flight for D, or NULL if it is there or on its way. */
struct flight *shard_claim(struct shard *s, const struct digest *d);

/*
 * An entry with room for LEN bytes, for the caller to fill, who has a
 * reference; not to be found before it is landed, and never if it is put
 * instead. NULL: no memory.
 */
struct shard_entry *shard_entry_new(
	struct shard *s, const struct digest *d, unsigned level, uint32_t len);

/* Ends a flight with E; or, if that is NULL, with RESULT for its waiters. */
void shard_land(
	struct shard *s, struct flight *f, struct shard_entry *e, int result);

void shard_put(struct shard_entry *e);

#endif

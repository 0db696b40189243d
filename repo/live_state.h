/* SPDX-License-Identifier: Apache-2.0 */
/*
 * live_state - what a live disk consists of, for the files that make it up:
 * live.c (opening, reading), live_write.c (writing, replay) and live_fold.c.
 *
 * Locks, in the order they are taken: turn, then lock. What is in the map below
 * is looked up with neither: a root that is referenced stays.
 */
#ifndef HIVEFS_LIVE_STATE_H
#define HIVEFS_LIVE_STATE_H

#include <pthread.h>

#include "repo/live.h"
#include "repo/overlay.h"

/* The map below, for as long as anyone reads it. */
struct root {
	struct disk *disk;
	unsigned n_refs; /* live->lock */
};

struct live {
	char *name;
	struct cache *cache;
	struct stream *stream;
	bool owned;
	uint64_t size;
	uint32_t sector_size;
	pthread_mutex_t turn; /* before lock: of writers; the stream's order */
	struct side *side;    /* turn to change it */
	bool side_noted;      /* turn; since the cut */
	uint64_t cut;         /* turn; the frozen layer ends before it */
	pthread_mutex_t lock; /* for moments: what is where */
	struct overlay *active; /* lock; and turn to change */
	struct overlay *frozen; /* lock; changed only by the one who folds */
	struct root *root;      /* lock */
	uint64_t data;          /* lock; and turn to change */
	bool written;           /* lock */
};

/* Returns owned; one reference. */
int must_check live_root_new(
	struct live *l, const struct digest *digest, struct root **ret);
void live_root_put(struct live *l, struct root *r);

/*
 * Where a run of pages from PAGE on is, up to N: in the layers from the top, or
 * in the map; then *ret_root is its reference, else NULL.
 */
struct where {
	uint64_t place; /* PLACE_NONE: in the map */
	uint64_t pages;
};
struct where live_look(
	struct live *l, uint64_t page, uint64_t n, struct root **ret_root);

/* Bytes of pages, of which the last of the disk may be a part. */
uint64_t live_bytes(const struct live *l, uint64_t page, uint64_t n);

/* Reads what live_look() found, from ROOT if it is in the map. */
int must_check live_read_one(struct live *l, struct disk *root,
	const struct where *w, uint64_t off, uint32_t len, struct pieces *p);

#endif

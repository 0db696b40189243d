/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch - a stored chunk or map as its bytes again, seen to hash to its key.
 * A fetcher holds what that takes: a codec, and room for the largest.
 *
 * Threads    a fetcher belongs to one thread at a time.
 * Errors     -EBADMSG damaged, -ENOENT missing (both logged), of the store.
 */
#ifndef HIVEFS_FETCH_H
#define HIVEFS_FETCH_H

#include "repo/chunk.h"
#include "repo/map.h"
#include "repo/repo.h"

struct fetcher {
	struct fetcher *next; /* for whoever keeps a list of them */
	struct codec *codec;
	uint8_t plain[CHUNK_MAX]; /* what came: packed bytes, of a map */
};

int must_check fetcher_new(struct repo *r, struct fetcher **ret);
void fetcher_free(struct fetcher *f);
DEFINE_CLEANUP(struct fetcher *, fetcher_free);

/* Where it is not known what a map must be. */
#define FETCH_ANY_LEVEL MAP_LEVELS_MAX

/* COLL is COLL_CHUNKS, or COLL_MAPS with the LEVEL that the map must be of. */
int must_check fetcher_get(struct fetcher *f, struct repo *r, enum coll coll,
	const struct digest *want, unsigned level, uint32_t *ret_len);

/* The same for a document that is at hand. */
int must_check fetcher_decode(struct fetcher *f, const struct digest *want,
	unsigned level, const struct doc *doc, uint32_t *ret_len);

/* A map alone needs no fetcher. */
int must_check map_load(struct repo *r, const struct digest *want,
	unsigned level, uint8_t out[MAP_PACKED_MAX], uint32_t *ret_len);

/* "chunk", "map": for messages */
const char *fetch_noun(enum coll coll);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map - which chunk holds each byte of a disk: a content-addressed tree.
 *
 * A leaf lists the extents of one window; a node of level n names up to 256
 * children of level n - 1. An absent child is all zeroes, and so is what lies
 * behind a leaf's last extent: the map of an empty disk is the absent digest
 * and the same content always packs to the same bytes. Level and position of
 * a map follow from the window number alone, so that a disk that grows keeps
 * its old maps.
 *
 * Units      bytes; ranges half-open; windows are numbered from 0.
 * Threads    packing: one thread at a time; unpacking: any thread.
 */
#ifndef HIVEFS_MAP_H
#define HIVEFS_MAP_H

#include <stdint.h>

#include "repo/chunk.h"
#include "src/blk.h"
#include "src/digest.h"

#define MAP_FAN 256u
#define MAP_LEVELS_MAX 4u /* 0 … 3: 256^3 windows are 64 TiB */
#define LEAF_EXTENTS_MAX (WINDOW_LEN / PAGE_LEN + 1)

/* Longest packed map: a leaf with every other page zero, or a full node. */
#define MAP_PACKED_MAX (64u << 10)

/* Level of the root of a disk of SIZE bytes. */
unsigned map_root_level(uint64_t size);

struct leaf_extent {
	uint32_t off; /* in its window */
	uint32_t len; /* multiple of 512, > 0 */
	enum blk_kind kind;
	struct digest chunk; /* BLK_DATA only: a whole chunk of this length */
};

struct leaf {
	uint32_t n;
	struct leaf_extent v[LEAF_EXTENTS_MAX];
};

/*
 * Appends an extent behind those of LEAF; zero extents that meet are merged.
 * The extents of a window come in order and without gaps.
 */
void leaf_add(struct leaf *l, uint32_t len, enum blk_kind kind,
	const struct digest *chunk);

/* Packs; trailing zeroes are left out. 0 if nothing is left: an absent leaf. */
uint32_t leaf_pack(const struct leaf *l, uint8_t out[MAP_PACKED_MAX]);

/* -EBADMSG, quietly, if it is no leaf. */
int must_check leaf_unpack(
	const uint8_t *packed, uint32_t len, struct leaf *ret);

/*
 * The extent of a packed leaf that holds offset WITHIN of its window, without
 * unpacking the rest: zeroes to the window's end behind the last one. PACKED
 * passed map_check().
 */
void leaf_find(const uint8_t *packed, uint32_t len, uint32_t within,
	struct leaf_extent *ret);

/* Packs a node; 0 if every child is absent. */
uint32_t node_pack(unsigned level, const struct digest child[MAP_FAN],
	uint8_t out[MAP_PACKED_MAX]);

/* Child SLOT of a packed node that passed map_check(); the absent digest. */
struct digest node_child(const uint8_t *packed, unsigned slot);

/*
 * Is PACKED a well-formed map of LEVEL: every integer in it is checked here,
 * so that nothing else sees a raw one. -EBADMSG, quietly.
 */
int must_check map_check(const uint8_t *packed, uint32_t len, unsigned level);

/* BSON body of a map document around packed bytes, and back (borrowed). */
uint32_t map_body(
	const uint8_t *packed, uint32_t len, uint8_t out[MAP_PACKED_MAX + 64]);
int must_check map_unwrap(const void *body, uint32_t len,
	const uint8_t **ret_packed, uint32_t *ret_len);

#endif

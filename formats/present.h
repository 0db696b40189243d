/* SPDX-License-Identifier: Apache-2.0 */
/*
 * present - which blocks of a disk hold data, and how many of them are before
 * any of them: where it lies when only those are stored.
 *
 * Memory     three bits for each block.
 * Ownership  present_new() returns owned.
 * Threads    present_set(): any thread, as long as no two set blocks of the
 *            same 64; after present_count(): immutable.
 */
#ifndef HIVEFS_PRESENT_H
#define HIVEFS_PRESENT_H

#include <stdbool.h>
#include <stdint.h>

#include "src/cleanup.h"

struct present {
	uint64_t n_blocks;
	uint64_t n;       /* present_count(): that are there */
	uint64_t *bits;   /* 64 of them each */
	uint32_t *before; /* how many are there before each 64 */
};

#define PRESENT_MAX UINT32_MAX

/* None is there. At most PRESENT_MAX blocks: -EFBIG, quietly; -ENOMEM, logged.
 */
int must_check present_new(uint64_t n_blocks, struct present **ret);
void present_free(struct present *p);
DEFINE_CLEANUP(struct present *, present_free);

void present_set(struct present *p, uint64_t block);

/* All are set: from now on they can be asked for. */
void present_count(struct present *p);

static inline bool present_has(const struct present *p, uint64_t block)
{
	return p->bits[block / 64] >> block % 64 & 1;
}

/* How many there are before BLOCK. */
static inline uint64_t present_before(const struct present *p, uint64_t block)
{
	uint64_t mask = (UINT64_C(1) << block % 64) - 1;

	return p->before[block / 64] +
	       (uint64_t)__builtin_popcountll(p->bits[block / 64] & mask);
}

#endif

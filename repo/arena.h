/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena - things of any size kept in one piece of memory of fixed size. Room
 * for a new one is made where a clock hand points: the hand walks up the
 * addresses and reclaims what lies there, but for what is in use and what was
 * used since it last came by.
 *
 * It exists so that a cache's bound is a bound on memory, not on a sum of
 * lengths. Buffers of 16 to 128 KiB that live for random times leave holes, in
 * each of malloc()'s arenas: 8 threads that churn 35 GB through 64 MiB of them
 * peak at an RssAnon of 259 MiB (127 MiB with two arenas, 70 MiB with one that
 * all threads wait for; an mmap() each: 109 MiB and three times the time).
 * The like through a cache of 64 MiB: 59 MiB, codecs and store included.
 *
 * Ownership  borrows its memory.
 * Threads    the caller's lock, but for `refs`.
 */
#ifndef HIVEFS_ARENA_H
#define HIVEFS_ARENA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is kept begins with one. */
struct slot {
	struct slot *prev, *next; /* in the order of addresses */
	size_t size;
	_Atomic uint32_t refs; /* 1: only the arena's own; others pin it */
	bool used;             /* since the hand last passed: set it on a hit */
};

struct arena {
	uint8_t *base;
	size_t size;
	size_t bytes;      /* of the slots that are in */
	size_t at;         /* the hand: room is looked for from here on */
	struct slot *hand; /* the first slot at or behind it, or &head */
	struct slot head;  /* of the ring of slots */
};

void arena_init(struct arena *a, void *base, size_t size);

/* The memory may be given back. No slot may be pinned. */
void arena_fini(struct arena *a);

/*
 * Room for a slot of SIZE bytes in all, with two references: the arena's and
 * the caller's. Calls drop() for each slot that gives way. NULL if it is larger
 * than the arena, or than any room between those that are pinned.
 */
typedef void (*arena_drop)(void *arg, struct slot *s);
struct slot *arena_take(
	struct arena *a, size_t size, arena_drop drop, void *arg);

#endif

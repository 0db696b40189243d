/* SPDX-License-Identifier: Apache-2.0 */
/*
 * overlay - which pages of a disk were written since its map was made, and
 * where in the stream their bytes are. One layer of it: a clone's disk has one
 * that is written to and, while that is being folded, a frozen one below.
 *
 * It holds places, no data: about 12 bytes a page and 80 a window that has any.
 *
 * Units      pages of 4 KiB, by number.
 * Threads    one thread at a time.
 */
#ifndef HIVEFS_OVERLAY_H
#define HIVEFS_OVERLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "src/cleanup.h"

struct overlay;

/* A page's place is that of its bytes in the stream, or: */
#define PLACE_NONE UINT64_MAX       /* not in this layer */
#define PLACE_ZERO (UINT64_MAX - 1) /* zeroes */

int must_check overlay_new(struct overlay **ret);
void overlay_free(struct overlay *o);
DEFINE_CLEANUP(struct overlay *, overlay_free);

/*
 * N pages from PAGE on have PLACE, PLACE + 4096, …; PLACE_ZERO: all zeroes.
 * -ENOMEM leaves it as it was for the pages that are not done.
 */
int must_check overlay_set(
	struct overlay *o, uint64_t page, uint64_t n, uint64_t place);

uint64_t overlay_get(const struct overlay *o, uint64_t page);

/*
 * How many pages from PAGE on, up to N, are alike: all absent, all zero, or
 * with places that follow each other; and the first one's place.
 */
uint64_t overlay_run(const struct overlay *o, uint64_t page, uint64_t n,
	uint64_t *ret_place);

/* Windows (of 1024 pages) that have any page, in order, from WINDOW on;
 * UINT64_MAX behind the last. */
uint64_t overlay_next_window(const struct overlay *o, uint64_t window);

/* How many pages of a window there are. */
unsigned overlay_window_pages(const struct overlay *o, uint64_t window);

struct overlay_stats {
	uint64_t n_pages, n_windows;
	uint64_t bytes; /* of memory */
};
struct overlay_stats overlay_stats(const struct overlay *o);

#endif

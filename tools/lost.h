/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lost - the ranges of a point that its source could not give.
 */
#ifndef HIVEFS_LOST_H
#define HIVEFS_LOST_H

#include <stdbool.h>
#include <stdio.h>

#include "repo/point.h"
#include "src/vec.h"

struct lost_range {
	const char *disk; /* borrowed */
	uint64_t off, len;
};
struct lost_ranges vec(struct lost_range);

/* Bytes that P's statistics call lost; 0 costs nothing to ask. */
uint64_t lost_bytes(const struct point *p);

/* Adds those of a disk to RET; reads its maps only if there are any. */
int must_check lost_find(
	struct repo *r, const struct point_disk *d, struct lost_ranges *ret);

/* One more range; joined to the last one if it continues that. */
int must_check lost_add(
	struct lost_ranges *l, const char *disk, uint64_t off, uint64_t len);

/* In the order of disks and offsets, ranges that touch made one. */
void lost_sort(struct lost_ranges *l);

/* A line each, of WHAT: {"type":"lost",…} or for people. */
void lost_print(
	const struct lost_ranges *l, const char *what, FILE *to, bool json);

uint64_t lost_sum(const struct lost_ranges *l);

#endif

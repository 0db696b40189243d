/* SPDX-License-Identifier: Apache-2.0 */
/*
 * extent_list - what is known of a stretch of a blk: a reply of a server that
 * told more than was asked for, kept for the questions that follow.
 *
 * Units      bytes; runs follow each other without a gap from START.
 * Threads    one thread at a time.
 */
#ifndef HIVEFS_EXTENT_LIST_H
#define HIVEFS_EXTENT_LIST_H

#include "src/blk.h"
#include "src/vec.h"

/* 1 MiB of memory; 4 GiB of a disk with a change of kind every 64 KiB */
#define EXTENT_LIST_MAX (1U << 16)

struct extent_run {
	uint64_t end;
	enum blk_kind kind;
};

struct extent_list {
	uint64_t start;
	struct vec(struct extent_run) runs;
};

/* Appends a run; one that is full drops it. -ENOMEM. */
int must_check extent_list_add(
	struct extent_list *l, uint64_t len, enum blk_kind kind);

/* True if OFF is in it: what begins there, for how far, within LEN. */
bool extent_list_find(const struct extent_list *l, uint64_t off, uint64_t len,
	struct blk_extent *ret);

void extent_list_fini(struct extent_list *l);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk - the bytes of one disk of a point, again: a map read through a cache.
 *
 * Opening costs nothing but memory; maps are fetched as they are needed.
 *
 * Units      bytes; ranges half-open, within [0, size).
 * Ownership  disk_open() returns owned and borrows the cache.
 * Threads    immutable after open; any thread.
 * Errors     of cache.h; then also logged with the disk's name and offset.
 */
#ifndef HIVEFS_DISK_H
#define HIVEFS_DISK_H

#include <stdint.h>

#include "repo/cache.h"
#include "src/blk.h"
#include "src/vec.h"

struct disk {
	struct cache *cache;
	char *name; /* "web/disk0@2026-11-20T08:42:45Z": for messages */
	struct digest root;
	uint64_t size;
	uint32_t sector_size;
};

int must_check disk_open(struct cache *c, const char *name,
	const struct digest *root, uint64_t size, uint32_t sector_size,
	struct disk **ret);
void disk_close(struct disk *d);
DEFINE_CLEANUP(struct disk *, disk_close);

/* What holds the byte at an offset, and the bytes after it. */
struct run {
	uint64_t off, len; /* on the disk */
	enum blk_kind kind;
	struct digest chunk; /* BLK_DATA only */
	uint32_t within;     /* of the chunk: where the run begins in it */
	uint32_t chunk_len;
};

/*
 * The run at OFF, within [off, end). Zeroes are one run for as far as that is
 * known without reading more than the nodes on the way: a window, or all that
 * an absent map covers.
 */
int must_check disk_run(
	struct disk *d, uint64_t off, uint64_t end, struct run *ret);

/*
 * A read without a copy: pieces in order that cover the range, `data` NULL
 * for zeroes. A range that was lost when it was backed up is -EIO, logged: a
 * guest must not take it for zeroes.
 */
struct piece {
	struct cached *entry; /* what holds the bytes, or: */
	uint8_t *owned;
	const uint8_t *data;
	uint32_t len; /* of zeroes too, so at most 4 GiB - 1 of them */
};
struct pieces vec(struct piece);

int must_check disk_read(
	struct disk *d, uint64_t off, uint32_t len, struct pieces *ret);
void pieces_fini(struct pieces *p);

/* All the bytes, to a buffer that has room for them. */
void pieces_copy(const struct pieces *p, uint8_t *out);

/* Fetches the chunks of a range ahead of whoever will read it. */
void disk_prefetch(struct disk *d, uint64_t off, uint64_t len);

/* The same disk as a blk, read-only; borrows D. Lost ranges read as an error.
 */
int must_check disk_blk(struct disk *d, struct blk **ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * live - one disk of a clone as it is now: what the stream holds, over the map
 * it began with. Reads look at the pages written since the last fold, then at
 * those a fold is busy with, then at the map.
 *
 * A write is in the stream, in order, before it returns: it survives the end of
 * this process at once and power loss after live_sync().
 *
 * Units      bytes; ranges half-open, within [0, size).
 * Ownership  live_open() returns owned, borrows the cache.
 * Threads    any thread. Writers of one disk take turns: that turn is the
 *            stream's order, so it is the one lock that is held across an
 *            append (into the page cache), and across the read that completes
 *            a page of which only a part is written.
 * Errors     -EROFS of one that was opened for reading; -ENOSPC: nothing was
 *            written, and it may be tried again; of stream.h and disk.h.
 */
#ifndef HIVEFS_LIVE_H
#define HIVEFS_LIVE_H

#include <stdatomic.h>

#include "repo/clone.h"
#include "repo/disk.h"
#include "repo/side.h"
#include "repo/stream.h"

struct live;

/*
 * Takes the stream over if OWNER is given, else reads it as it is now: what its
 * owner writes later is not seen. NAME is for messages. -ESTALE, quietly, when
 * D is out of date: get the clone again.
 */
int must_check live_open(struct cache *c, const char *name,
	const struct clone_disk *d, const struct stream_owner *owner,
	struct live **ret);
void live_close(struct live *l);
DEFINE_CLEANUP(struct live *, live_close);

const char *live_name(const struct live *l);
uint64_t live_size(const struct live *l);
uint32_t live_sector_size(const struct live *l);

/*
 * As disk_read(): of written pages the bytes are copied, of others not.
 * -ESTALE, quietly, of one that is not ours: its owner has folded it.
 */
int must_check live_read(
	struct live *l, uint64_t off, uint32_t len, struct pieces *ret);

/*
 * Fetches chunks of a range of the map ahead of whoever will read it. Written
 * pages are in the page cache.
 */
void live_prefetch(struct live *l, uint64_t off, uint64_t len);

/* At most LIVE_WRITE_MAX bytes. */
#define LIVE_WRITE_MAX (1u << 20)
int must_check live_write(
	struct live *l, uint64_t off, uint32_t len, const void *buf);
int must_check live_zero(struct live *l, uint64_t off, uint64_t len);

/*
 * What its views keep beside it, in order with what is written to the disk;
 * folds carry it on, and no point has it. -EIO, logged, where they would keep
 * too much.
 */
struct side *live_side(struct live *l);
int must_check live_write_side(
	struct live *l, const struct wrecord *r, const uint8_t *data);

/* All writes that returned before it survive power loss when it returns 0. */
int must_check live_sync(struct live *l);

/* Begins what live_sync() would have to wait for. Promises nothing. */
void live_flush(struct live *l);

/* What begins at OFF and how far it goes, within END: for SEEK_DATA, fiemap. */
int must_check live_extent(
	struct live *l, uint64_t off, uint64_t end, struct blk_extent *ret);

/* Bytes that are not zeroes by a hole: st_blocks. True at every moment. */
uint64_t live_data(struct live *l);

/* Was anything ever written to this clone's disk? */
bool live_written(struct live *l);

/* What folding has to keep within bounds. */
struct live_load {
	uint64_t stream_bytes; /* unfolded: replayed when it is opened */
	uint64_t memory;       /* of the overlay */
};
struct live_load live_load(struct live *l);

#endif

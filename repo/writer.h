/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writer - registration of whatever will rely on stored chunks or maps, so
 * that garbage collection, which runs beside it, lets them be.
 *
 * The protocol is a model's (gc.pml): register, see that no collection began
 * meanwhile; before relying on a digest look it up in `condemned` *first* and
 * ask whether it exists *after*; publish by one insert-if-absent under a key
 * that ends in this writer's id; sign off. Turning the order round loses data.
 *
 * Threads    writer_rely() and writer_beat(): any thread.
 */
#ifndef HIVEFS_WRITER_H
#define HIVEFS_WRITER_H

#include <stdbool.h>

#include "repo/point.h"

struct writer;

/* What it will publish, so that a collector can fence it (gc.pml). */
enum writer_kind {
	/* a point of the machine TARGET, under a key that ends in our id */
	WRITER_POINT = 1,
	/* the clone TARGET, by a swap of its document's VERSION, or, if that
	 * is 0, by an insert: read *before* this is called */
	WRITER_CLONE = 2,
	/* a point that another repository has, under the id that it has there,
	 * by a swap of that place's VERSION, or, if that is 0, by an insert:
	 * read *before* this is called. An id that is not ours, so a tombstone
	 * as a fence would keep the point from ever being copied */
	WRITER_COPY = 3,
};

int must_check writer_begin(struct repo *r, enum writer_kind kind,
	const struct uuid *target, uint64_t version, struct writer **ret);

/* A WRITER_COPY of the point ID. */
int must_check writer_begin_copy(struct repo *r, const struct point_id *id,
	uint64_t version, struct writer **ret);

/*
 * Says the time in the key of the point that will be published, without which a
 * collector could not fence it: before anything is stored. -ENOTUNIQ, logged,
 * if the writer has been given up.
 */
int must_check writer_aim(struct writer *w, int64_t time);

/* Removes the registration and frees it, whatever became of the work. */
void writer_end(struct writer *w);
DEFINE_CLEANUP(struct writer *, writer_end);

struct uuid writer_id(const struct writer *w);
uint64_t writer_generation(const struct writer *w);

/* Moves the heartbeat's value if the last move was some seconds ago. */
void writer_beat(struct writer *w);

/*
 * Step one of relying on digests: none of the N is condemned when it returns 0;
 * what was, is saved, and what was being swept is gone. Costs nothing unless a
 * collection was under way at the beginning.
 */
int must_check writer_rely(
	struct writer *w, const struct digest *digests, size_t n);

#endif

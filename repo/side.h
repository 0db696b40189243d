/* SPDX-License-Identifier: Apache-2.0 */
/*
 * side - what views of one disk keep beside it: the bytes of their metadata
 * that were written to. Which space is which view's is not known here, nor what
 * the bytes mean; where there are none, whoever shows the view makes them.
 *
 * A space may be given a length: then it is a file of its own, in which what
 * was not written is zero.
 *
 * Units      bytes, at offsets in the view's file.
 * Threads    reading: any thread. side_reserve(), side_apply() and
 * side_visit(): one at a time, beside readers.
 */
#ifndef HIVEFS_SIDE_H
#define HIVEFS_SIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "repo/wrecord.h"

struct side;

/* All spaces of a disk together: what a clone keeps in memory for them. */
#define SIDE_MAX (32u << 20)

int must_check side_new(struct side **ret);
void side_free(struct side *s);
DEFINE_CLEANUP(struct side *, side_free);

/* Is there room for another LEN bytes? */
bool side_fits(struct side *s, uint64_t len);

/* Is anything kept of any space? */
bool side_is_empty(struct side *s);

/*
 * Takes in what a record of a space says; DATA of r->len bytes if it is of that
 * kind. What it needs for that was reserved right before, as -ENOMEM, logged,
 * must not come when the record is in the stream already.
 */
int must_check side_reserve(struct side *s, const struct wrecord *r);
void side_apply(struct side *s, const struct wrecord *r, const uint8_t *data);

/* Puts what was written of a range over what is in BUF. */
void side_read(
	struct side *s, uint8_t space, uint64_t off, size_t len, uint8_t *buf);

/* Was any of that range written? */
bool side_any(struct side *s, uint8_t space, uint64_t off, uint64_t end);

/* True if the space was given a length. */
bool side_length(struct side *s, uint8_t space, uint64_t *ret);

/*
 * The records that make all that is kept, in an order in which they can be
 * applied; over what they came from they change nothing. A visit that returns
 * other than 0 ends it with that value.
 */
typedef int (*side_visitor)(
	void *arg, const struct wrecord *r, const uint8_t *data);
int must_check side_visit(struct side *s, side_visitor visit, void *arg);

#endif

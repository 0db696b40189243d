/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mover - documents on their way from one segment of the embedded store to
 * others. Who reads meanwhile finds them in the one place or the other; one
 * that is changed or removed meanwhile is left alone.
 *
 * Ownership  borrows the store; bodies given in are copied.
 * Threads    one thread.
 * Errors     -ENOSPC quietly; the rest is logged.
 */
#ifndef HIVEFS_MOVER_H
#define HIVEFS_MOVER_H

#include "repo/embedded.h"

struct mover;

/* For documents that lie in segment FROM. */
int must_check mover_new(struct embedded *e, uint32_t from, struct mover **ret);
void mover_free(struct mover *m);
DEFINE_CLEANUP(struct mover *, mover_free);

/* A record of it, put or remove. */
int must_check mover_add(
	struct mover *m, const struct record *rec, const uint8_t *body);

/* All that was added is in its new place. */
int must_check mover_flush(struct mover *m);
uint64_t mover_bytes(const struct mover *m); /* that were moved */

#endif

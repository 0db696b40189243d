/* SPDX-License-Identifier: Apache-2.0 */
/*
 * live_write - records of a live disk's stream: made, and replayed. For the
 * files that make up a live disk; what others call is in live.h.
 */
#ifndef HIVEFS_LIVE_WRITE_H
#define HIVEFS_LIVE_WRITE_H

#include "repo/live_state.h"

/* A visit of the stream; ARG is the disk. */
int must_check live_replay(void *arg, uint64_t seq, uint64_t place,
	const uint8_t *payload, uint32_t len);

/* Turn held. As live_write(). */
int must_check live_write_turn(
	struct live *l, uint64_t off, uint32_t len, const uint8_t *buf);

/* Turn held. Whole pages, holes already or not. */
int must_check live_zero_pages(struct live *l, uint64_t page, uint64_t n);

/* Turn held. A visit of side.h; ARG is the disk. */
int must_check live_append_side(
	void *arg, const struct wrecord *r, const uint8_t *data);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rechunk - a window's leaf after some of its pages were written: cut anew only
 * from the chunk of a changed page to where the cuts meet the old ones again.
 * Scattered 4 KiB writes cost the chunks they touch, not whole windows.
 *
 * Threads    one thread at a time.
 */
#ifndef HIVEFS_RECHUNK_H
#define HIVEFS_RECHUNK_H

#include "repo/map.h"
#include "repo/window.h"

/* What the window holds now: LEN bytes at OFF of it. */
typedef int (*rechunk_read)(
	void *arg, uint32_t off, uint32_t len, uint8_t *buf);

struct rechunk {
	const struct leaf *old; /* as unpacked; n is 0 for an absent one */
	const struct page_set *changed;
	uint32_t len; /* of the window: shorter at the end of a disk */
	rechunk_read read;
	void *arg;
};

/*
 * BYTES has room for a window; what new chunks hold is in it at its offsets.
 * ret_read counts the bytes that were asked of read().
 */
int must_check rechunk(const struct rechunk *r, uint8_t *bytes,
	struct leaf *ret, uint64_t *ret_read);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view_write - what is written to a view goes where it belongs: the disk's
 * bytes to the clone's disk, that all its views show; others to what this view
 * keeps beside it.
 *
 * Threads    any thread; what makes a file longer or shorter one at a time,
 *            which the kernel sees to.
 * Errors     -ENOSPC, quietly; -EIO, logged: it would break the format;
 *            -EFBIG, quietly: the file is as long as it gets.
 */
#ifndef HIVEFS_VIEW_WRITE_H
#define HIVEFS_VIEW_WRITE_H

#include "fs/view.h"

/*
 * Of a view that writes. A file that is written to at its end does not grow,
 * where its format has no room for that: zeroes behind it are dropped.
 */
int must_check view_write(
	struct view *v, uint64_t off, size_t len, const uint8_t *buf);

/* Makes a range read as zeroes, as far as the file goes. */
int must_check view_zero(struct view *v, uint64_t off, uint64_t len);

/* -EPERM, quietly, unless it is that long already or may change. */
int must_check view_resize(struct view *v, uint64_t size);

/* All that was written to the clone's disk before survives power loss. */
int must_check view_sync(struct view *v);

#endif

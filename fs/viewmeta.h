/* SPDX-License-Identifier: Apache-2.0 */
/*
 * viewmeta - the bytes of a view that are not the disk's: what its format makes
 * of them, and over that what was written there, which is the clone's and that
 * view's alone.
 *
 * Units      bytes, at offsets in the file.
 * Threads    any thread; what makes a file longer or shorter one at a time,
 *            which the kernel sees to.
 * Errors     of formats/format.h and live.h.
 */
#ifndef HIVEFS_VIEWMETA_H
#define HIVEFS_VIEWMETA_H

#include "fs/view.h"

/* How long the file is now. */
uint64_t viewmeta_size(struct view *v);

/*
 * LEN bytes at OFF, all before the disk's or all behind them, or of a file that
 * has none of those.
 */
int must_check viewmeta_read(
	struct view *v, uint64_t off, size_t len, uint8_t *out);

/* Was anything written there? */
bool viewmeta_written(struct view *v, uint64_t off, uint64_t end);

/*
 * The same range, of a view that writes. viewmeta_check() before: -EIO, logged
 * once a file that is open, where the disk would no longer be where the layout
 * has it.
 */
int must_check viewmeta_check(
	struct view *v, uint64_t off, size_t len, const uint8_t *bytes);
int must_check viewmeta_write(
	struct view *v, uint64_t off, size_t len, const uint8_t *bytes);

/* Of a file that may change its length, up to format->max_size. */
int must_check viewmeta_resize(struct view *v, uint64_t size);

/*
 * All of it is BYTES from now on. -EIO, logged, if they do not lead to the
 * disk.
 */
int must_check viewmeta_replace(
	struct view *v, const uint8_t *bytes, size_t len);

/*
 * The last who wrote to such a file has closed it. If what it holds does not
 * lead to the disk any more, it is forgotten, which is logged: a program that
 * makes an image anew in its place has failed or will, and the disk is there.
 */
void viewmeta_settle(struct view *v);

/* None of what was written is kept: it is as its format makes it. */
int must_check viewmeta_forget(struct view *v);

#endif

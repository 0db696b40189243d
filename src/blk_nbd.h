/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_nbd - an NBD export as a read-only blk; and, with a qemu-nbd of our own
 * behind it, every image format that qemu reads.
 *
 * A libnbd handle takes one command at a time from us, so a blk holds several
 * connections where the server allows it (nbd_can_multi_conn). All are made at
 * open; one that is lost is not made again: -EIO.
 */
#ifndef HIVEFS_BLK_NBD_H
#define HIVEFS_BLK_NBD_H

#include "src/blk.h"

int must_check blk_nbd_open(const char *uri, struct blk **ret);

/*
 * Starts `qemu-nbd -r` on IMAGE_OPTS (what qemu-nbd --image-opts takes) and
 * connects to it; it ends with the blk, or with this process however that
 * ends. NAME is for messages.
 */
int must_check blk_nbd_spawn(
	const char *image_opts, const char *name, struct blk **ret);

/*
 * From now on blk_changed() of B, one of these two, also says whether the file
 * at PATH has another size, mtime or ctime than now.
 */
int must_check blk_nbd_watch(struct blk *b, const char *path);

#endif

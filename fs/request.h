/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request - what every answer to the kernel begins with.
 */
#ifndef HIVEFS_REQUEST_H
#define HIVEFS_REQUEST_H

#include "fs/fs.h"
#include "fs/ops.h"

static inline struct fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static inline struct node *node_of(struct fs *fs, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? &fs->tree.root
				   : (struct node *)(uintptr_t)ino;
}

static inline struct handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

/* What a process is told: damage of any sort is EIO; the log says more. R may
 * be 0. */
void reply_status(fuse_req_t req, int r);

/*
 * A file that answers a read of 1 byte makes qemu take 4096 for its alignment,
 * and pad what is no multiple of that. This makes it find 512.
 */
static inline bool is_misaligned(
	const struct fuse_file_info *fi, off_t off, size_t len)
{
	return (fi->flags & O_DIRECT) && (((size_t)off | len) & 511);
}

#endif

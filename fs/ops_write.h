/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ops_write - requests of the kernel that change something, or ask for it to
 * last. What is not a view of a clone is refused. A write goes
 *   fuse write -> view_write() -> live_write() -> stream
 * and is in the stream when it is answered; if it carries O_DSYNC or O_SYNC,
 * or when a sync of any kind is answered, it survives power loss, too.
 */
#ifndef HIVEFS_OPS_WRITE_H
#define HIVEFS_OPS_WRITE_H

#include "fs/ops.h"

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
	off_t off, struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
	struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
	off_t len, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
	struct fuse_file_info *fi);

/* What is said to clones: fs/control.h. */
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
	const char *value, size_t size, int flags);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ops_foreign - requests of the kernel that change what is in a directory: only
 * foreign files do, as the rest of the tree's shape is the repository's affair.
 */
#ifndef HIVEFS_OPS_FOREIGN_H
#define HIVEFS_OPS_FOREIGN_H

#include "fs/handle.h"
#include "fs/ops.h"

void op_create(fuse_req_t req, fuse_ino_t ino, const char *name, mode_t mode,
	struct fuse_file_info *fi);
void op_mknod(fuse_req_t req, fuse_ino_t ino, const char *name, mode_t mode,
	dev_t dev);
void op_mkdir(fuse_req_t req, fuse_ino_t ino, const char *name, mode_t mode);
void op_unlink(fuse_req_t req, fuse_ino_t ino, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t ino, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t ino, const char *name,
	fuse_ino_t new_ino, const char *new_name, unsigned flags);
/* Refused. */
void op_symlink(
	fuse_req_t req, const char *target, fuse_ino_t ino, const char *name);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_ino,
	const char *new_name);

/* Answers a read, a write and a change of attributes of one. */
void foreign_answer(
	fuse_req_t req, struct foreign *f, size_t size, uint64_t off);
void foreign_store(fuse_req_t req, struct handle *h, const char *buf,
	size_t size, off_t off);
void foreign_change(
	fuse_req_t req, struct node *n, const struct stat *attr, int to_set);

#endif

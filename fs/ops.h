/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ops - the requests of the kernel, answered. A read goes
 *   fuse read -> view_read() -> disk_read() -> cache
 * and its answer is written from where the cache has the bytes.
 */
#ifndef HIVEFS_OPS_H
#define HIVEFS_OPS_H

#define FUSE_USE_VERSION 312
#include <fuse3/fuse_lowlevel.h>

/* For fuse_session_new(); its userdata is a struct fs. */
extern const struct fuse_lowlevel_ops fs_ops;

struct fs;
struct node;
struct node_id;

/* The node of ID below PARENT, as the kernel is told of it and knows it then;
 * and the answer that tells it, or that R is an error. */
int ops_entry(struct fs *fs, struct node *parent, const struct node_id *id,
	struct fuse_entry_param *ret);
void ops_reply_entry(fuse_req_t req, int r, const struct fuse_entry_param *e);

#endif

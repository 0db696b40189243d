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

#endif

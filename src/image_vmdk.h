/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_vmdk - the files that a VMDK descriptor names: extents and a parent.
 *
 * qemu opens extents by the descriptor, whatever it is told otherwise, so it
 * is read here exactly as qemu's block/vmdk.c reads it, and where qemu would
 * skip a line, the image is refused.
 */
#ifndef HIVEFS_IMAGE_VMDK_H
#define HIVEFS_IMAGE_VMDK_H

#include "src/image_refs.h"

/* Adds to REFS, which the caller frees also on failure. */
int must_check vmdk_refs(int fd, const char *path, struct image_refs *refs);

/* -EINVAL if the header of an extent makes qemu look for more of them. */
int must_check vmdk_extent_check(int fd, const char *path);

#endif

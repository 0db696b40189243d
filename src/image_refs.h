/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_refs - the other files that an image's header names, and headers that
 * qemu would misread. Nothing but the image itself is opened.
 *
 * Who wrote the header is not trusted: every length is checked, and what
 * qemu's parser takes for a name this one takes for one as well.
 *
 * Ownership  image_refs_read() fills; image_refs_fini() frees.
 * Errors     -EINVAL, logged.
 */
#ifndef HIVEFS_IMAGE_REFS_H
#define HIVEFS_IMAGE_REFS_H

#include "src/image.h"
#include "src/vec.h"

struct image_extent {
	char *name;
	bool has_header; /* is itself a sparse VMDK, not plain bytes */
};

struct image_refs {
	char *backing;        /* NULL: none */
	char *backing_driver; /* qemu's name, if the image records one */
	char *data_file;      /* qcow2: where its clusters are, or NULL */
	struct vec(struct image_extent) extents; /* vmdk: the same in parts */
};

int must_check image_refs_read(
	int fd, const char *path, enum image_format f, struct image_refs *ret);
void image_refs_fini(struct image_refs *refs);

#endif

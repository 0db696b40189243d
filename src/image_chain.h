/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_chain - an image with all the files below it, each one's format said
 * to qemu, so that it probes none and follows no name that was not looked at.
 *
 * Ownership  image_chain_read() fills; image_chain_fini() frees.
 */
#ifndef HIVEFS_IMAGE_CHAIN_H
#define HIVEFS_IMAGE_CHAIN_H

#include "src/image.h"
#include "src/vec.h"

struct image_chain {
	/* canonical paths; the first n_own ones hold the top image */
	struct vec(char *) files;
	size_t n_own;
	char *image_opts; /* for qemu-nbd --image-opts */
};

/*
 * Walks from the image at PATH downwards and opens no file outside of PATH's
 * folder unless OUTSIDE: -EINVAL, logged. FORCE_SHARE reads in spite of locks.
 */
int must_check image_chain_read(const char *path, enum image_format f,
	bool outside, bool force_share, struct image_chain *ret);
void image_chain_fini(struct image_chain *c);

#endif

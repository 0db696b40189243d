/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image - the formats a source may be in, and which of them a file is taken
 * for: what its user says, else its name. Its first bytes may only object.
 */
#ifndef HIVEFS_IMAGE_H
#define HIVEFS_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/cleanup.h"

enum image_format {
	IMAGE_RAW,
	IMAGE_QCOW2,
	IMAGE_VMDK,
	IMAGE_VHD,
	IMAGE_VHDX,
	IMAGE_VDI,
};

/* Opens a file or block device for reading; anything else is refused. */
int must_check image_open(
	const char *path, int *ret_fd, bool *ret_is_device, uint64_t *ret_size);

/* Up to LEN bytes at OFF; fewer only at the end of the file. */
int must_check image_read(int fd, const char *name, void *buf, size_t len,
	uint64_t off, size_t *ret_len);

/* The one called NAME: ours, or qemu's. -EINVAL quietly if there is none. */
int image_format_named(const char *name, enum image_format *ret);

/* By its extension, in any case; raw if that says nothing. */
enum image_format image_format_of_path(const char *path);

const char *image_format_name(enum image_format f);
const char *image_format_driver(enum image_format f); /* qemu's name for it */

/*
 * -EINVAL, logged, if the file's head (or tail: VHD) speaks against format F.
 * SAID is that somebody said so, which for raw is to be believed: a guest
 * writes into its raw disk what it likes.
 */
int must_check image_format_check(int fd, const char *path, uint64_t size,
	enum image_format f, bool said);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_file - a raw image file or a block device as a blk.
 *
 * Holes are told by SEEK_DATA. Reads are plain reads: the page cache is what
 * makes a source that was just written fast to back up.
 */
#ifndef HIVEFS_BLK_FILE_H
#define HIVEFS_BLK_FILE_H

#include <stdbool.h>

#include "src/blk.h"

/*
 * Takes FD, a regular file or a block device, also on failure; NAME is for
 * messages. WRITABLE as FD was opened.
 */
int must_check blk_file_new(
	int fd, const char *name, bool writable, struct blk **ret);

#endif

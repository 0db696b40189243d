/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhd - Virtual Hard Disk (Microsoft's specification 1.0 of 2006). A fixed one
 * is the disk, then a footer of 512 bytes. A dynamic one begins with a copy of
 * the footer, a header and a table of blocks of 2 MiB, each of which a bitmap
 * of its sectors precedes. For sectors of 512 bytes and at most 2040 GiB.
 */
#ifndef HIVEFS_VHD_H
#define HIVEFS_VHD_H

#include "formats/packed.h"

extern const struct format format_vhd;
extern const struct packed_format packed_vhd;

#endif

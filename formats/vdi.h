/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdi - VirtualBox disk image: a header, a map that says where every block of
 * 1 MiB is, and the disk. In a static one each is where it would be anyway; a
 * dynamic one has only those that are not all zeroes. For sectors of 512 bytes.
 */
#ifndef HIVEFS_VDI_H
#define HIVEFS_VDI_H

#include "formats/packed.h"

extern const struct format format_vdi;
extern const struct packed_format packed_vdi;

#endif

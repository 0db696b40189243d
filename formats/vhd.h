/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhd - fixed Virtual Hard Disk (Microsoft's specification 1.0 of 2006): the
 * disk, then a footer of 512 bytes. For sectors of 512 bytes and at most
 * 2040 GiB.
 */
#ifndef HIVEFS_VHD_H
#define HIVEFS_VHD_H

#include "formats/format.h"

extern const struct format format_vhd;

#endif

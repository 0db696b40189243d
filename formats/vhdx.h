/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhdx - VHDX (MS-VHDX): headers, an empty log, a metadata region, a table that
 * says where every block is, and the disk. In a fixed one each is where it
 * would be anyway; a dynamic one has only those that are not all zeroes. For
 * sectors of 512 and of 4096 bytes, and at most 64 TiB.
 */
#ifndef HIVEFS_VHDX_H
#define HIVEFS_VHDX_H

#include "formats/packed.h"

extern const struct format format_vhdx;
extern const struct packed_format packed_vhdx;

#endif

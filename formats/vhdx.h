/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhdx - fixed VHDX (MS-VHDX): headers, an empty log, a metadata region, a
 * table that says of every block of 32 MiB that it is where it would be
 * anyway, and the disk. For sectors of 512 and of 4096 bytes, and at most
 * 64 TiB.
 */
#ifndef HIVEFS_VHDX_H
#define HIVEFS_VHDX_H

#include "formats/format.h"

extern const struct format format_vhdx;

#endif

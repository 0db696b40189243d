/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdi - static VirtualBox disk image: a header, a map that says of every block
 * of 1 MiB that it is where it would be anyway, and the disk. For sectors of
 * 512 bytes.
 */
#ifndef HIVEFS_VDI_H
#define HIVEFS_VDI_H

#include "formats/format.h"

extern const struct format format_vdi;

#endif

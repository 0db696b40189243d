/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmdk - the VMware pair: a text that describes the disk (NAME.vmdk), and the
 * disk (NAME-flat.vmdk), which is the raw one under another name. For sectors
 * of 512 bytes.
 */
#ifndef HIVEFS_VMDK_H
#define HIVEFS_VMDK_H

#include "formats/format.h"

extern const struct format format_vmdk, format_vmdk_flat;

#endif

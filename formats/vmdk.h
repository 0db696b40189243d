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

enum vmdk_kind {
	VMDK_FLAT,
	VMDK_VMFS,
	VMDK_SPARSE,
	VMDK_STREAM,
};

/* The descriptor: LEN bytes of text, filled up with newlines in flat kinds and
 * with zeroes in others, which hold it themselves. */
void vmdk_describe(uint64_t guest, const struct identity *id,
	enum vmdk_kind kind, char *text, size_t len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2 - QEMU's format, version 3, with clusters of 2 MiB that lie in the file
 * as they do on the disk. A cluster that is all zeroes is said to be nowhere.
 *
 * Read-only: whoever discards a cluster may put any other one there next, which
 * the layout could not follow.
 */
#ifndef HIVEFS_QCOW2_H
#define HIVEFS_QCOW2_H

#include "formats/packed.h"

extern const struct format format_qcow2;
extern const struct packed_format packed_qcow2;

/* What its header says; offsets in the file, and lengths in entries. */
struct qcow2_header {
	uint32_t cluster_bits;
	uint64_t guest;
	uint64_t l1, n_l1;
	uint64_t ref_table, ref_table_clusters;
};

#define QCOW2_HEADER 112u
#define QCOW2_COPIED (UINT64_C(1) << 63) /* used once */

void qcow2_header(const struct qcow2_header *h, uint8_t b[QCOW2_HEADER]);

#endif

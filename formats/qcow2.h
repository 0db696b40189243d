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

#include "formats/format.h"

extern const struct format format_qcow2;

#endif

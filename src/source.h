/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source - opens what a backup reads: an image file, a block device, an NBD
 * export.
 *
 * The format of a source is said by its user or its file name, never by its
 * content: a guest can write a forged qcow2 header into its raw disk and make
 * a prober read files of the host through its backing name.
 */
#ifndef HIVEFS_SOURCE_H
#define HIVEFS_SOURCE_H

#include <stdbool.h>

#include "src/blk.h"

struct source_options {
	/* NULL: by the file name. raw, qcow2, vmdk, vhd, vhdx, vdi */
	const char *format;
	bool in_use;          /* a source that something has open will do */
	bool outside_backing; /* backing files outside the source's folder */
};

/*
 * SPEC is a path, nbd://HOST[:PORT][/EXPORT] or nbd+unix:///EXPORT?socket=PATH.
 * Opened read-only. *ret_in_use tells that something else had it open, which
 * is only a success if options->in_use says so.
 * In use is what qemu has locked or anyone has open for writing, or mounted.
 * Errors, logged: -EINVAL what the user must say differently (exit 2), -EBUSY
 * in use, else the system's.
 */
int must_check source_open(const char *spec,
	const struct source_options *options, struct blk **ret,
	bool *ret_in_use);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * in_use - whether something writes to a disk image while we look: a backup
 * of it would be a smear of several instants.
 */
#ifndef HIVEFS_IN_USE_H
#define HIVEFS_IN_USE_H

#include "src/cleanup.h"

/*
 * 1 if the file or block device at PATH, open for reading as FD, is open for
 * writing elsewhere, or mounted; 0 if nothing is known of that.
 */
int must_check in_use(int fd, const char *path);

#endif

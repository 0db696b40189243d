/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mounted - where on this host a repository is mounted, for programs that want
 * its files.
 *
 * Threads    one thread.
 */
#ifndef HIVEFS_MOUNTED_H
#define HIVEFS_MOUNTED_H

#include "src/cleanup.h"
#include "src/uuid.h"

/* One that can be written to; owned. -ENOENT, quietly: there is none. */
int must_check mounted_find(const struct uuid *repository, char **ret);

/* An empty directory to mount it at; owned. */
int must_check mounted_directory(char **ret);

/* Mounts $HIVEFS_REPO there. */
int must_check mounted_make(const char *dir);

#endif

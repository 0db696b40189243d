/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mountpoint - a directory before a mount: may it be mounted on? And its
 * device, once it was.
 *
 * Threads    any thread.
 * Errors     logged as one sentence: -EINVAL the user must name another
 *            directory, -EBUSY something is mounted there.
 */
#ifndef HIVEFS_MOUNTPOINT_H
#define HIVEFS_MOUNTPOINT_H

#include "src/cleanup.h"

/*
 * Checks PATH and returns it absolute and without links, owned. REPO is the
 * directory of an embedded repository, or NULL: a mount over it, in it or above
 * it would wait for itself. What a hivefs that was killed left mounted there is
 * taken away; nothing else is.
 */
int must_check mountpoint_check(const char *path, const char *repo, char **ret);

/*
 * Lets the kernel read ahead as far as BYTES in what is mounted on PATH: it
 * begins with 128 KiB, and the device's setting is the only way to more. Does
 * nothing where that needs more rights than we have.
 */
void mountpoint_readahead(const char *path, unsigned bytes);

#endif

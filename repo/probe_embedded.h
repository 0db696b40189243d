/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe_embedded - what an embedded store needs of the directory it is in, and
 * of the file system and kernel below.
 *
 * Threads    one thread.
 */
#ifndef HIVEFS_PROBE_EMBEDDED_H
#define HIVEFS_PROBE_EMBEDDED_H

#include "repo/probe.h"

/* -ENOMEDIUM, said: there is no repository. */
int must_check probe_embedded(
	const struct probe *p, const char *path, bool *ret_writable);

/* Are all files there that the index names? */
void probe_segments(const struct probe *p, struct repo *r);

#endif

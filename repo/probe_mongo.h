/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe_mongo - what a store in MongoDB needs of the server: its version and
 * kind, what the user may do, and how the collections were made.
 *
 * Threads    one thread.
 */
#ifndef HIVEFS_PROBE_MONGO_H
#define HIVEFS_PROBE_MONGO_H

#include "repo/probe.h"

/* *ret_writable: the user may do what a backup does. -EIO: no server answers;
 * another error: it cannot be connected to. Both have been said. */
int must_check probe_mongo(
	const struct probe *p, const char *url, bool *ret_writable);

#endif

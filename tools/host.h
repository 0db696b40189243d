/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host - what mounts, boots and backups of image files need of this host.
 *
 * Threads    one thread.
 */
#ifndef HIVEFS_HOST_H
#define HIVEFS_HOST_H

#include "repo/probe.h"

void host_probe(const struct probe *p);

#endif

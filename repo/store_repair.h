/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_repair - an embedded store's index made anew from its segments. What
 * each record means for it: FORMAT.md, "Rebuilding the index".
 */
#ifndef HIVEFS_STORE_REPAIR_H
#define HIVEFS_STORE_REPAIR_H

#include "repo/store.h"

int must_check embedded_repair(const char *path, struct store_repair *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_embedded - the store in a directory: segments that hold the documents,
 * an index that says where. The calls are those of store.h, with a path.
 */
#ifndef HIVEFS_STORE_EMBEDDED_H
#define HIVEFS_STORE_EMBEDDED_H

#include "repo/store.h"

int must_check embedded_create(const char *path, const struct uuid *uuid);
bool embedded_exists(const char *path);
int must_check embedded_open(
	const char *path, unsigned flags, struct store **ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clone_json - clone.json in the mount: which clone it is that the files beside
 * it show, and what it was made from. What changes while it is written to is
 * not in it but in the extended attribute user.hivefs.status.
 */
#ifndef HIVEFS_CLONE_JSON_H
#define HIVEFS_CLONE_JSON_H

#include <jansson.h>

#include "fs/branch.h"
#include "repo/clone.h"

/* RET is owned text that ends in a new line. */
int must_check clone_json(const struct clone *c, char **ret);

/* What an open one is at: members of OBJECT. */
void clone_json_info(json_t *object, const struct branch_info *info);

#endif

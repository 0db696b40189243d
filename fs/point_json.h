/* SPDX-License-Identifier: Apache-2.0 */
/*
 * point_json - point.json in the mount: all that a point says of itself. It
 * says nothing that may change later, so that its bytes are always the same;
 * its names are those of `hivefs show --json`.
 */
#ifndef HIVEFS_POINT_JSON_H
#define HIVEFS_POINT_JSON_H

#include "repo/point.h"

/* RET is owned text that ends in a new line. */
int must_check point_json(const struct point *p, char **ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json - the few ways in which values become JSON here.
 */
#ifndef HIVEFS_FS_JSON_H
#define HIVEFS_FS_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "src/cleanup.h"
#include "src/uuid.h"

/* Each adds one member; what cannot be added is left out. */
void json_add_text(json_t *object, const char *name, const char *text);
void json_add_count(json_t *object, const char *name, uint64_t value);
void json_add_time(json_t *object, const char *name, int64_t seconds);
void json_add_uuid(json_t *object, const char *name, const struct uuid *u);

/* Frees OBJECT; RET is owned text that ends in a new line. */
int must_check json_finish(json_t *object, char **ret);

#endif

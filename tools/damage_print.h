/* SPDX-License-Identifier: Apache-2.0 */
/*
 * damage_print - a line for a range of a disk that cannot be read, of verify
 * and repair.
 */
#ifndef HIVEFS_DAMAGE_PRINT_H
#define HIVEFS_DAMAGE_PRINT_H

#include "repo/verify.h"

/* CLI: the struct cli of the verb; JSON if it was asked for. */
void damage_print(void *cli, const struct verify_damage *d);

#endif

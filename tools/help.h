/* SPDX-License-Identifier: Apache-2.0 */
/*
 * help - what `hivefs help VERB` and `hivefs VERB --help` print.
 */
#ifndef HIVEFS_HELP_H
#define HIVEFS_HELP_H

#include "tools/cli.h"

void help_print(const struct verb *v);

#endif

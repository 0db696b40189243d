/* SPDX-License-Identifier: Apache-2.0 */
/* raw - the disk itself, and nothing else. */
#ifndef HIVEFS_RAW_H
#define HIVEFS_RAW_H

#include "formats/format.h"

extern const struct format format_raw;

#endif

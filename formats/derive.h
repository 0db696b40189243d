/* SPDX-License-Identifier: Apache-2.0 */
/*
 * derive - identifiers of an image file: the same whenever it is shown, others
 * for every disk, point, clone and format. Programs that keep a register of
 * the images they know refuse two with one identifier.
 */
#ifndef HIVEFS_DERIVE_H
#define HIVEFS_DERIVE_H

#include "formats/format.h"

/* WHAT tells apart those that one identity has. Never all zeroes. */
struct uuid derive_uuid(const struct identity *id, const char *what);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair_lost - what an index that is about to be replaced knows and segments
 * cannot tell: that some of them are gone, or end too early. Rebuilt without a
 * word, the new index would make points vanish as if they had never been.
 *
 * Threads    one thread.
 */
#ifndef HIVEFS_REPAIR_LOST_H
#define HIVEFS_REPAIR_LOST_H

#include "repo/repodir.h"
#include "repo/store.h"

/*
 * Logs what is missing and adds it to what was damaged. Best effort: of an
 * index that cannot be read nothing is known.
 */
void repair_find_lost(const struct repodir *d, struct store_repair *result);

#endif

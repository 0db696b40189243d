/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quarantine - digests whose stored bytes were found damaged and moved aside.
 *
 * A writer loads the set when it begins and again before it publishes: nothing
 * that names one of them is taken over unread from a parent, so that the next
 * backup of the same bytes stores them anew.
 *
 * Threads    immutable after load; any thread.
 */
#ifndef HIVEFS_QUARANTINE_H
#define HIVEFS_QUARANTINE_H

#include <stdbool.h>

#include "repo/repo.h"
#include "src/digest.h"
#include "src/vec.h"

struct quarantine vec(struct digest); /* sorted */

int must_check quarantine_load(struct repo *r, struct quarantine *ret);
bool quarantine_has(const struct quarantine *q, const struct digest *d);
void quarantine_fini(struct quarantine *q);

#endif

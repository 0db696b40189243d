/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quarantine - digests whose stored bytes were found damaged or missing, and
 * moved aside.
 *
 * A writer loads the set when it begins and again before it publishes: nothing
 * that names one of them is taken over unread from a parent, so that the next
 * backup of the same bytes stores them anew, and every point that used them is
 * whole again.
 *
 * Each entry has a random version, so that what is moved here a second time is
 * seen as new by a writer that knew of the first.
 *
 * Threads    immutable after load; any thread.
 */
#ifndef HIVEFS_QUARANTINE_H
#define HIVEFS_QUARANTINE_H

#include <stdbool.h>

#include "repo/repo.h"
#include "src/digest.h"
#include "src/vec.h"

struct quarantined {
	struct digest digest;
	uint64_t version;
};
struct quarantine vec(struct quarantined); /* sorted by digest */

int must_check quarantine_load(struct repo *r, struct quarantine *ret);
bool quarantine_has(const struct quarantine *q, const struct digest *d);

/* NULL: it is not there. */
const struct quarantined *quarantine_find(
	const struct quarantine *q, const struct digest *d);

/*
 * Of what is missing: was it there, and is so because it was damaged and set
 * aside? For messages: false also if that cannot be told.
 */
bool quarantine_was_damaged(struct repo *r, const struct digest *d);

/* Is anything in NOW that was not in BEFORE? */
bool quarantine_grew(
	const struct quarantine *before, const struct quarantine *now);

/* -EAGAIN quietly if by now it has grown. */
int must_check quarantine_check(
	struct repo *r, const struct quarantine *before);
void quarantine_fini(struct quarantine *q);

#endif

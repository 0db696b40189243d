/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify_state - what the steps of one verification have in common.
 */
#ifndef HIVEFS_VERIFY_STATE_H
#define HIVEFS_VERIFY_STATE_H

#include "repo/damage.h"
#include "repo/fetch.h"
#include "repo/part.h"
#include "repo/reach.h"
#include "repo/stamps.h"
#include "repo/verify.h"

struct check {
	const struct verify *job;
	struct verify_result result;
	struct damage damage;
	struct reach *reach;
	struct damage_users users;
	unsigned n_threads;
	bool index_bad;                                    /* a listing is */
	struct fetcher **fetchers;                         /* one a thread */
	_Atomic uint64_t n_stored, n_chunks, bytes, n_odd; /* of step 4 */
	struct stamps stamps; /* of what has been verified now */
	struct part *part;    /* being verified, and when that began */
	int64_t begun;
};

/* -ECANCELED if it is to end. */
int must_check verify_cancelled(const struct check *c);

/* Passes on what is no damage; counts what is. */
int must_check verify_count(struct check *c, int r);

/* Machines, labels, points and clones; the streams of those, too. */
int must_check verify_documents(struct check *c);

#endif

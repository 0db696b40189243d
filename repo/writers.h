/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writers - those that are registered, as a collector sees them: who may rely
 * on what it is about to remove, and how it makes sure that one that seems dead
 * publishes nothing.
 *
 * Giving one up wrongly costs it its work, never data.
 *
 * Threads    any thread.
 * Errors     -EBADMSG for a document that does not decode: then nobody knows
 *            who is at work.
 */
#ifndef HIVEFS_WRITERS_H
#define HIVEFS_WRITERS_H

#include "repo/writer.h"
#include "src/process.h"

struct writer_seen {
	struct uuid id, target;
	uint64_t version; /* the heartbeat's value */
	uint64_t generation;
	enum writer_kind kind;
	uint64_t target_version; /* of a clone, or of a copy's place */
	int64_t time;            /* of a point; 0: it has not said */
	struct uuid point;       /* of a copy: with target and time its id */
	/* whose it is; empty if it does not say */
	char host[PROCESS_HOST], process[PROCESS_TEXT];
};
struct writers vec(struct writer_seen); /* in the order of ids */

int must_check writers_list(struct repo *r, struct writers *ret);
void writers_fini(struct writers *w);

/* The lowest generation of them; MAX if there are none. */
uint64_t writers_lowest(const struct writers *w);

/*
 * Fences what it would publish, then signs it off. 0 also if it has published
 * or signed off by then.
 */
int must_check writer_give_up(struct repo *r, const struct writer_seen *w);

/*
 * How many of W cannot be alive: their processes on this host have ended, or no
 * process has the store open but us, asked after W was listed. A process that
 * is stopped is alive; of one on another host, of another boot, or in a
 * namespace that is not ours, nothing is known.
 */
size_t writers_dead(struct repo *r, const struct writers *w);

/* Gives those up. */
int must_check writers_give_up_dead(struct repo *r, uint64_t *ret_given_up);

/*
 * Waits until no writer of a generation below LIMIT is left. One whose
 * heartbeat stands still for PATIENCE seconds of ours is given up, and so is,
 * at once, one that cannot be alive. ret_given_up counts them.
 */
int must_check writers_wait(struct repo *r, uint64_t limit, unsigned patience,
	const _Atomic bool *cancel, uint64_t *ret_given_up);

#endif

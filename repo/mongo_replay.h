/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongo_replay - reads a stream in MongoDB: up the numbers of an epoch to the
 * first gap; a takeover ends its epoch, and number 0 of the next one follows.
 * What lies behind a takeover in its epoch came too late and does not exist.
 *
 * Threads    any thread.
 */
#ifndef HIVEFS_MONGO_REPLAY_H
#define HIVEFS_MONGO_REPLAY_H

#include "repo/mongo.h"
#include "repo/mongo_group.h"

struct replay {
	struct mongo *m;
	const struct uuid *stream;
	uint64_t from;
	bool heads;     /* without lens and data */
	uint64_t until; /* stop there; 0: at the end */
	/* each group in order; takes it; other than 0 ends the replay */
	int (*visit)(void *arg, struct group *g);
	void *arg;
	/* out */
	uint64_t next;    /* sequence number that follows */
	uint64_t place;   /* that of what follows */
	uint64_t last_by; /* of the last group */
	/* its own */
	uint64_t trimmed; /* of the owner's document */
	bool gap;         /* a record is missing: */
	uint64_t gap_at;
};

/*
 * -ESTALE, quietly: what FROM is about was trimmed. -EBADMSG, logged: records
 * are missing.
 */
int must_check replay(struct replay *w);

/* One group, by its first sequence number. -ENOENT, quietly. */
int must_check replay_one(struct mongo *m, const struct uuid *stream,
	uint64_t seq, bool head, struct group *ret);

#endif

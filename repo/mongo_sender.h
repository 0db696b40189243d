/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongo_sender - the thread that inserts what is appended to a stream, one
 * group at a time, and says that its owner lives. It goes on trying for as long
 * as the stream is open: what a server did not take stays in memory, and a
 * later sync may succeed.
 *
 * Threads    any thread; append: one at a time.
 */
#ifndef HIVEFS_MONGO_SENDER_H
#define HIVEFS_MONGO_SENDER_H

#include "repo/mongo.h"
#include "repo/mongo_groups.h"

struct sender {
	struct mongo *m;
	const struct uuid *stream;
	struct groups *groups;
	uint64_t own;
	pthread_mutex_t lock; /* before that of groups */
	pthread_cond_t work, done;
	uint64_t next, place; /* lock; of the next record */
	uint64_t acked;       /* lock; all before it is in */
	int failed;           /* lock; what the last try ended with */
	bool lost;            /* lock; another has the stream */
	bool sending, stop;   /* lock */
	pthread_t thread;
};

/* The next record will be NEXT, at PLACE. */
int must_check sender_begin(struct sender *s, struct mongo *m,
	const struct uuid *stream, struct groups *groups, uint64_t own,
	uint64_t next, uint64_t place);
/* After all is sent, or it is known that it cannot be. */
void sender_end(struct sender *s);

int must_check sender_append(struct sender *s, const struct iovec *iov,
	int n_iov, uint32_t len, uint64_t *ret_seq, uint64_t *ret_place);
int must_check sender_sync(struct sender *s);
uint64_t sender_next(struct sender *s);

/* Inserts a group; -EEXIST, quietly, if another's is there. OWNER: of
 * takeovers.
 */
int must_check group_insert(struct mongo *m, const struct uuid *stream,
	const struct group *g, const struct stream_owner *owner);

#endif

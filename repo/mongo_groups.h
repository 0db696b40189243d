/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongo_groups - what a stream in MongoDB that is open has: its documents in
 * order, and the bytes of those that were written or read last.
 *
 * Ownership  holds its groups.
 * Threads    any thread. A group that is being sent stays as it is, its bytes
 *            in memory, until groups_sent().
 */
#ifndef HIVEFS_MONGO_GROUPS_H
#define HIVEFS_MONGO_GROUPS_H

#include <pthread.h>

#include "repo/mongo_group.h"
#include "src/vec.h"

/* Bytes of groups that are on the server, too. */
#define GROUPS_CACHE (32u << 20)

struct held {
	struct group g;
	bool sent;
	struct held *older, *newer; /* of those in the cache */
};

struct groups {
	pthread_mutex_t lock;
	struct vec(struct held *) v;  /* lock; by place and sequence number */
	size_t n_sent;                /* lock; from the front */
	uint64_t bytes, cached;       /* lock */
	struct held *oldest, *newest; /* lock */
};

void groups_init(struct groups *s);
void groups_fini(struct groups *s);

/* Takes the data of a group that is on the server. */
int must_check groups_add(struct groups *s, struct group *g);

/* Appends a record to the last group that is not being sent, or a new one. */
int must_check groups_append(struct groups *s, uint64_t seq, uint64_t place,
	uint64_t by, const struct iovec *iov, int n_iov, uint32_t len,
	bool may_join);

/* The first that was not sent; NULL: there is none. */
const struct group *groups_unsent(struct groups *s);
void groups_sent(struct groups *s);
/* Bytes of those. */
uint64_t groups_waiting(struct groups *s);

/*
 * Copies LEN bytes from PLACE on. 1: the bytes of the group that begins with
 * *ret_seq are needed first: groups_fill(). -ENOENT, quietly: was trimmed.
 */
int must_check groups_read(struct groups *s, uint64_t place, uint8_t *buf,
	size_t len, uint64_t *ret_seq);
void groups_fill(struct groups *s, struct group *g); /* takes its data */

/* Where the first group begins that has a record not before SEQ; if none, SEQ
 */
uint64_t groups_boundary(struct groups *s, uint64_t seq);
void groups_trim(struct groups *s, uint64_t boundary);

uint64_t groups_bytes(struct groups *s);

#endif

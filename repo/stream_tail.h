/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_tail - the end of a stream of an embedded store that is ours:
 * appending, syncing, and going on in a new file.
 *
 * Threads    append and roll take turns; sync and flush: any thread, beside
 *            them.
 * Errors     -ENOSPC quietly: nothing was appended; else logged. After a failed
 *            fdatasync nobody knows what is on disk, and trying again would
 *            say that all is: it is over, -EIO, until the stream is opened
 *            again.
 */
#ifndef HIVEFS_STREAM_TAIL_H
#define HIVEFS_STREAM_TAIL_H

#include <stdatomic.h>
#include <sys/uio.h>
#include <xxhash.h>

#include "repo/stream_set.h"

#define STREAM_IOVS 64 /* of an append */
#define STREAM_AHEAD (256u << 10)
#define STREAM_AHEAD_STEP (64u << 10)

struct stream_tail {
	struct stream_set *set;
	pthread_mutex_t turn; /* before sync */
	pthread_mutex_t sync; /* before set->lock */
	/* both locks to change, one of them to look; used by us */
	struct stream_file *last;
	uint64_t seed;         /* turn; of the last file */
	uint64_t end;          /* turn; of its records */
	uint64_t zeroed;       /* turn; there are zeroes from end to here */
	uint64_t flushing;     /* sync; up to here its bytes are on their way */
	_Atomic uint64_t next; /* what the next record will be */
	_Atomic uint64_t synced; /* all before it is */
	_Atomic bool failed;
	XXH3_state_t *hash; /* turn */
	struct iovec iov[STREAM_IOVS + 2 + STREAM_AHEAD / STREAM_AHEAD_STEP];
};

/* The set has files; all before NEXT is synced, nothing is behind it. */
int must_check stream_tail_init(
	struct stream_tail *t, struct stream_set *set, uint64_t next);
void stream_tail_fini(struct stream_tail *t);

int must_check stream_tail_append(struct stream_tail *t, enum stream_kind kind,
	const struct iovec *iov, int n_iov, uint32_t len, uint64_t *ret_seq,
	uint64_t *ret_place);
int must_check stream_tail_sync(struct stream_tail *t);
void stream_tail_flush(struct stream_tail *t);

/* A new file if all records are before SEQ and they are MIN bytes or more. */
int must_check stream_tail_roll(
	struct stream_tail *t, uint64_t seq, uint64_t min);

#endif

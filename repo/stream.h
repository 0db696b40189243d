/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream - ordered, append-only records of one owner at a time: what a clone's
 * disk was written. The store's second kind of content, beside documents.
 *
 * Replaying any prefix of a stream over the map it began with is a
 * crash-consistent disk. Who may write is decided by the stream itself: taking
 * over appends a takeover record at the first gap and begins a new epoch; a
 * record of an older epoch does not exist behind it. The rules are a model's
 * (tests/model/stream.pml).
 *
 * A sequence number is 64 bits, the epoch (24) on top of the number (40) within
 * it. A *place* says where a byte of a record's payload lies, and stays good
 * until it is trimmed: place + n is the n-th byte after it. Whoever opened the
 * stream from a sequence number on reads places of records from there on.
 *
 * Ownership  stream_open() returns owned, borrows the store.
 * Threads    stream_append(): one thread at a time; all others: any thread,
 *            beside it.
 * Errors     -EBUSY, logged with who has it; -ENOSPC quietly from append: the
 *            record is not there and the next may be tried; -ESTALE, logged,
 *            if it was taken from us: it is over for good; -EBADMSG, logged.
 */
#ifndef HIVEFS_STREAM_H
#define HIVEFS_STREAM_H

#include <sys/uio.h>

#include "repo/store.h"

#define STREAM_NUMBER_BITS 40
#define STREAM_PAYLOAD_MAX (2u << 20)
/* Where records begin, behind the takeover that a stream begins with. */
#define STREAM_FIRST (UINT64_C(1) << STREAM_NUMBER_BITS)

struct stream;

/* Who has a stream: for people who find it busy. */
struct stream_owner {
	char host[256];
	int64_t pid;
	char place[1024]; /* the mount point, or the verb */
};

/* A payload at PLACE; its bytes are valid during the visit. */
typedef int (*stream_visit)(void *arg, uint64_t seq, uint64_t place,
	const uint8_t *payload, uint32_t len);

/*
 * Takes ownership: visits all records from sequence number FROM on, up to the
 * first gap or torn one, cuts off for good what lies behind it, and opens the
 * next epoch. Makes the stream if there is none. OWNER is us.
 */
int must_check stream_open(struct store *s, const struct uuid *id,
	uint64_t from, const struct stream_owner *owner, stream_visit visit,
	void *arg, struct stream **ret);

/* Visits the same records without owning anything; places can be read. */
int must_check stream_peek(struct store *s, const struct uuid *id,
	uint64_t from, stream_visit visit, void *arg, struct stream **ret);

/* What is not synced may be lost by power loss, not by the end of a process. */
void stream_close(struct stream *st);
DEFINE_CLEANUP(struct stream *, stream_close);

/* -ENOENT, quietly, if nobody has it. */
int must_check stream_owner(
	struct store *s, const struct uuid *id, struct stream_owner *ret);

/*
 * Appends one record of at most STREAM_PAYLOAD_MAX bytes; it is in the order of
 * calls. ret_place is that of the first byte of the payload. It can be read
 * through ST at once. It is on its way: in an embedded store it survives the
 * end of this process, in MongoDB it does some milliseconds later. After
 * stream_sync() it lasts, and others see it.
 */
int must_check stream_append(struct stream *st, const struct iovec *iov,
	int n_iov, uint64_t *ret_seq, uint64_t *ret_place);

/* All appended before the call survives power loss when it returns 0. */
int must_check stream_sync(struct stream *st);

/* Begins what stream_sync() would have to wait for. Promises nothing. */
void stream_flush(struct stream *st);

/* The sequence number that the next record will have. */
uint64_t stream_next(const struct stream *st);

int must_check stream_read(
	struct stream *st, uint64_t place, void *buf, size_t len);

/*
 * Gives the space of records before SEQ back, as far as is easy. Nobody may
 * read their places any more.
 */
int must_check stream_trim(struct stream *st, uint64_t seq);

/* Bytes that the stream takes. */
uint64_t stream_bytes(const struct stream *st);

/*
 * Visits the ids of all streams there are. A visit that returns other than 0
 * ends it with that value.
 */
int must_check stream_list(struct store *s,
	int (*visit)(void *arg, const struct uuid *id), void *arg);

/* Removes a stream that nobody has; -ENOENT, quietly, if there is none. */
int must_check stream_remove(struct store *s, const struct uuid *id);

#endif

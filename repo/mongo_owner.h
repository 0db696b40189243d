/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongo_owner - who has a stream in MongoDB, as its owner says: a document with
 * a number that moves while the owner lives. It only keeps others from trying;
 * what counts are the takeovers in the stream itself.
 *
 * An owner is dead for certain when its process on this boot is gone; it is
 * taken for dead when its number has stood still for OWNER_SILENT_MS of our own
 * clock, or at once with STORE_TAKEOVER. A wrong guess costs the old owner an
 * error, never data.
 *
 * Threads    any thread.
 */
#ifndef HIVEFS_MONGO_OWNER_H
#define HIVEFS_MONGO_OWNER_H

#include "repo/mongo.h"
#include "src/process.h"

#define MONGO_OWNERS "owners"
#define OWNER_BEAT_MS 1000
#define OWNER_SILENT_MS 120000

struct mongo_owner {
	uint64_t own;     /* 0: nobody */
	uint64_t beat;    /* counts up */
	uint64_t trimmed; /* records before this sequence number may be gone */
	struct stream_owner who;
	char process[PROCESS_TEXT];
};

/* -ENOENT, quietly, if there was never one. */
int must_check owner_look(
	struct mongo *m, const struct uuid *stream, struct mongo_owner *ret);

/* The ids of all streams that were ever opened and not removed. */
int must_check owner_list(struct mongo *m,
	int (*visit)(void *arg, const struct uuid *id), void *arg);

/* May what owner_look() found be alive? */
bool owner_alive(struct mongo *m, const struct uuid *stream,
	const struct mongo_owner *o);

/*
 * Becomes the owner WHO under the id OWN where the document still is what
 * SEEN says (NULL: none). -ESTALE, quietly, if not.
 */
int must_check owner_claim(struct mongo *m, const struct uuid *stream,
	const struct mongo_owner *seen, uint64_t own,
	const struct stream_owner *who);

/* One try. 1: it is another's now; errors are quiet. */
int owner_beat(struct mongo *m, const struct uuid *stream, uint64_t own);
void owner_release(struct mongo *m, const struct uuid *stream, uint64_t own);
int must_check owner_trim(
	struct mongo *m, const struct uuid *stream, uint64_t own, uint64_t seq);
int must_check owner_forget(
	struct mongo *m, const struct uuid *stream, uint64_t own);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segset - reading records wherever they lie: segment files, a bounded number
 * of them open at a time.
 *
 * A segment may be compacted and unlinked at any moment by another process;
 * descriptors of such files are dropped, or their space would never come back.
 *
 * Ownership  segset_new() returns owned, borrows the directory.
 * Threads    any thread.
 * Errors     quiet: -ENOENT, no such segment; -EBADMSG, not the record that was
 *            asked for. The caller looks the place up again before it
 * complains.
 */
#ifndef HIVEFS_SEGSET_H
#define HIVEFS_SEGSET_H

#include "repo/index.h"
#include "repo/segment.h"

struct segset;

struct segfile {
	uint32_t id;
	int fd;
	uint64_t seed;
	unsigned users; /* segset->lock */
	uint64_t used;  /* segset->lock; when, in calls */
	bool listed;    /* segset->lock */
};

int must_check segset_new(const char *path, int dir, const struct seal *seal,
	struct segset **ret);
void segset_free(struct segset *s);
DEFINE_CLEANUP(struct segset *, segset_free);

int must_check segset_get(struct segset *s, uint32_t id, struct segfile **ret);
void segset_put(struct segset *s, struct segfile *f);

/* Lets go of one that was unlinked, as soon as nobody reads it. */
void segset_forget(struct segset *s, uint32_t id);

/* Lets go of all that were unlinked, by whomever, and that nobody reads. */
void segset_tidy(struct segset *s);

/* One document to read: found at AT, to be put into ret. */
struct lookup {
	const struct key *key;
	struct entry at;
	struct doc *ret;
	int err; /* set by segset_read() */
};

/* Reads them all, neighbours with one call. They are sorted by place. */
void segset_read(
	struct segset *s, enum coll c, struct lookup **lookups, size_t n);

#endif

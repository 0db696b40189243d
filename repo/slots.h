/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slots - segments this process appends chunks and maps to, one per thread that
 * does so at the moment. A slot's segment is locked (OFD lock): nobody else
 * appends to it or compacts it.
 *
 * Names of segments are never used twice and published bytes never change; what
 * lies beyond the committed length was never acknowledged and is cut off by the
 * next who takes the segment.
 *
 * Ownership  slots_new() returns owned, borrows directory and index.
 * Threads    any thread; a slot belongs to the one that took it.
 * Errors     -ENOSPC is quiet, the rest logged.
 */
#ifndef HIVEFS_SLOTS_H
#define HIVEFS_SLOTS_H

#include "repo/index.h"
#include "repo/repodir.h"

struct slots;

struct slot {
	uint32_t id;
	int fd;
	enum coll coll;
	uint64_t committed;
	struct slot *next; /* slots->lock, while idle */
	struct segment_append append;
};

int must_check slots_new(
	struct repodir *dir, struct index *index, struct slots **ret);
void slots_free(struct slots *s);
DEFINE_CLEANUP(struct slots *, slots_free);

/* One for documents of collection C, at its committed end. */
int must_check slots_take(struct slots *s, enum coll c, struct slot **ret);

/* Lets go of those that no thread has: others may append to or compact them. */
void slots_release(struct slots *s);

/* What became of what was appended to a slot. */
enum slot_state {
	SLOT_GOOD,        /* all of it is published, or nothing was appended */
	SLOT_TORN,        /* none was published: ENOSPC, ENOMEM */
	SLOT_UNPUBLISHED, /* nobody knows: the transaction failed */
	SLOT_BROKEN,      /* none was published, and I/O fails here */
};

/* Gives a slot back; its `committed` is up to date. */
void slots_give(struct slots *s, struct slot *slot, enum slot_state state);

/*
 * The two steps of opening a segment for appending, between which its row is
 * read (again) by whoever needs a lock: opening, which with CREATE makes the
 * file; then cutting off what was never published, or writing the header if
 * nothing ever was. -ENOENT quietly.
 */
int must_check segment_open_append(
	const struct repodir *dir, uint32_t id, bool create, int *ret_fd);
int must_check segment_trim(
	const struct repodir *dir, const struct segment_row *row, int fd);

/*
 * Length from which on the next segment is begun. A 64th of a small file
 * system, so that there is space to move one when it is full.
 */
uint64_t segment_limit(const struct repodir *dir);

/* Makes the next segment's row. */
int must_check segment_allocate(
	struct index_txn *t, bool journal, struct segment_row *ret);

#endif

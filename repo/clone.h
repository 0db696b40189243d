/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clone - a persistent writable branch of a point, as its document has it: per
 * disk a map and the position in a stream of what was written since.
 *
 * A point's *own* clone is made when a view of the point is first opened for
 * writing; its id derives from the point's, so that two mounts agree on it. A
 * *named* one derives from its name. Everything changes by compare-and-swap of
 * the one document.
 *
 * Ownership  a `struct clone` owns its strings: clone_fini().
 * Threads    any thread.
 * Errors     of store.h; -EBADMSG for a document that does not decode.
 */
#ifndef HIVEFS_CLONE_H
#define HIVEFS_CLONE_H

#include <stdbool.h>

#include "repo/point.h"

struct clone_disk {
	char *name;
	uint64_t size;
	uint32_t sector_size;
	struct digest root;
	uint64_t data;      /* bytes in data extents of the root */
	uint64_t lost;      /* and in lost ones */
	struct uuid stream; /* what was written since the root was made */
	uint64_t from;      /* sequence number it begins at */
};

struct retired_root {
	struct digest root;
	uint64_t size; /* of the disk: tells the root's level */
};

struct clone {
	struct uuid id;
	uint64_t version; /* of its document */
	char *name;       /* NULL: the own clone of the point `base` */
	struct point_id base;
	char *machine; /* name at the time of the point */
	int64_t created;
	struct machine_config config; /* of the point */
	/* of a temporary one: the process that it is for, and its host; else
	 * NULL */
	char *process, *host;
	bool discarded;
	struct vec(struct clone_disk) disks;
	/* roots that folds let go of, until gc has dealt with them */
	struct vec(struct retired_root) retired;
};

void clone_fini(struct clone *c);

struct uuid clone_own_id(const struct point_id *point);
struct uuid clone_named_id(const char *name);

/* "web@2026-11-20T08:42:45Z" of an own one, else its name; owned. */
char *clone_text(const struct clone *c);

/* -ENOENT, quietly, if there is none, or it was discarded. */
int must_check clone_get(
	struct repo *r, const struct uuid *id, struct clone *ret);

/* The same, discarded ones too. */
int must_check clone_read(
	struct repo *r, const struct uuid *id, struct clone *ret);

/*
 * What to make of ERR, which opening the streams of C came to since
 * log_hold(): -ESTALE, to be read anew, if that is damage, but of a clone that
 * was changed or dropped since it was read; else ERR. Where it is to be read
 * anew nothing was wrong, and nothing is said.
 */
int must_check clone_judge(struct repo *r, const struct clone *c, int err);

/*
 * Makes sure that whoever is about to insert the clone, or to swap VERSION of
 * its document, will not: 0 also if that was so. VERSION is 0 of an insert.
 */
int must_check clone_fence(
	struct repo *r, const struct uuid *id, uint64_t version);

/*
 * Takes the N retired roots out of the document where its version is C's, and
 * leaves the version alone: nobody who is about to swap it has to know.
 */
int must_check clone_forget(struct repo *r, const struct clone *c,
	const struct retired_root *gone, size_t n);

/*
 * Branches P: NAME is NULL for its own clone. If that is there already, it is
 * returned; a name that is taken is -EEXIST, quietly. -ENOENT, quietly, if the
 * point was removed meanwhile.
 */
int must_check clone_fork(struct repo *r, const struct point *p,
	const char *name, struct clone *ret);

/* The same for this process only: whoever finds it gone may discard it. */
int must_check clone_fork_temporary(struct repo *r, const struct point *p,
	const char *name, struct clone *ret);

/* Makes C one that ends with this process; its document says so once stored. */
int must_check clone_for_us(struct clone *c);

/* Is it a temporary one whose process is gone for certain? */
bool clone_is_abandoned(const struct clone *c);

/*
 * Replaces the document by C where its version is C's, and counts that up; of
 * version 0 inserts it. -ESTALE, quietly, if it has moved on, or is there
 * already. Synced when it returns 0.
 */
int must_check clone_swap(struct repo *r, struct clone *c);

/*
 * Retires its roots and removes its streams, which nobody may have or get: so
 * of a clone that may be open somewhere, open_clone_discard().
 */
int must_check clone_discard(struct repo *r, struct clone *c);

/*
 * Its two halves, for whoever has the streams: C still lists its disks after
 * the first, and lets go of them before the second.
 */
int must_check clone_drop(struct repo *r, struct clone *c);
void clone_remove_streams(struct repo *r, const struct clone *c);

/*
 * Visits those that were not discarded, own ones too. A visit that returns
 * other than 0 ends it with that value. -EBADMSG if a document was damaged, but
 * only after all the others were visited.
 */
typedef int (*clone_visit)(void *arg, const struct clone *c);
int must_check clone_list(struct repo *r, clone_visit visit, void *arg);

#endif

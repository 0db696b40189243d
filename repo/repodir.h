/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repodir - the directory of an embedded store: its marker, its lock, the space
 * kept back. Layout: FORMAT.md, "Embedded store".
 *
 * Ownership  repodir_open() returns owned.
 * Threads    immutable after open; any thread.
 * Errors     logged.
 */
#ifndef HIVEFS_REPODIR_H
#define HIVEFS_REPODIR_H

#include <stdbool.h>
#include <sys/types.h>

#include "repo/segment.h"

struct repodir {
	char *path;
	char *index; /* PATH/index */
	int fd;
	int segments;
	int lock;       /* -1 on a read-only file system */
	bool read_only; /* the file system is */
	dev_t dev;
	ino_t ino;
	struct seal seal;
	uint64_t fs_bytes; /* of the file system that it is on */
};

/* Everything but the index, which MAKE_INDEX puts into an empty directory. */
int must_check repodir_create(const char *path, const struct uuid *uuid,
	int (*make_index)(const char *dir, const struct uuid *uuid));

/* Is it marked as a repository? Quietly. */
bool repodir_exists(const char *path);

/*
 * ALONE: for repair. No other process may have it open, or open it later
 * (-EBUSY), and a marker that is gone or damaged is made anew.
 */
int must_check repodir_open(const char *path, bool alone, struct repodir **ret);
void repodir_close(struct repodir *d);
DEFINE_CLEANUP(struct repodir *, repodir_close);

/* Does no other process have it open at this moment? */
bool repodir_alone(const struct repodir *d);

/* LMDB may fail while another process opens or closes: one at a time. */
void repodir_index_begin(struct repodir *d);
void repodir_index_end(struct repodir *d);

/* Removes the index in the directory NAME and the directory, if there. */
int must_check repodir_remove_index(const struct repodir *d, const char *name);

/* True if space was given back by this call. */
bool repodir_reserve_spend(struct repodir *d);
/*
 * Best effort, quietly: nothing unless there is plenty of space. AGAIN: it was
 * spent by the caller, who is done, so as much of it as is left is kept back.
 */
void repodir_reserve_fill(struct repodir *d, bool again);

#endif

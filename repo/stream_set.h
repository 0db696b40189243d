/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_set - the files of one stream that is open, and a few descriptors of
 * them. A file that is removed stays readable for those who are at it.
 *
 * Threads    any thread.
 * Errors     logged but where it says quietly.
 */
#ifndef HIVEFS_STREAM_SET_H
#define HIVEFS_STREAM_SET_H

#include <pthread.h>

#include "repo/stream_dir.h"

struct stream_file {
	uint32_t number;
	uint64_t first; /* sequence number of its first record */
	uint64_t end;   /* set->lock: of its last record */
	int fd;         /* -1, or open; set->lock to change, but by its users */
	unsigned users; /* set->lock */
	uint64_t used;  /* set->lock: when last */
	bool gone;      /* set->lock: out of the set */
};

struct stream_set {
	const struct stream_dir *dir;
	bool writable; /* files are opened for writing, too */
	pthread_mutex_t lock;
	struct vec(struct stream_file *) files; /* lock: by number */
	unsigned n_open;                        /* lock */
	uint64_t clock;                         /* lock */
	uint64_t bytes;                         /* lock */
};

void stream_set_init(
	struct stream_set *s, const struct stream_dir *dir, bool writable);
/* Nobody uses a file any more. */
void stream_set_fini(struct stream_set *s);

/* A number above all others. FD, or -1, is taken, whatever is returned. */
int must_check stream_set_add(
	struct stream_set *s, uint32_t number, uint64_t first, int fd);

/* Its fd is open until stream_set_put(). -ENOENT, quietly, if it is gone. */
int must_check stream_set_get(
	struct stream_set *s, uint32_t number, struct stream_file **ret);
void stream_set_put(struct stream_set *s, struct stream_file *f);

/* Where its records end now. */
void stream_set_end(struct stream_set *s, struct stream_file *f, uint64_t end);
uint64_t stream_set_end_of(struct stream_set *s, const struct stream_file *f);
uint64_t stream_set_bytes(struct stream_set *s);

/*
 * Takes the oldest file out whose records are all before SEQ, never the last
 * one: its number, or 0.
 */
uint32_t stream_set_trim(struct stream_set *s, uint64_t seq);

#endif

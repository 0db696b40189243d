/* SPDX-License-Identifier: Apache-2.0 */
/*
 * embedded - inside of the embedded store: what its handles share. One process
 * must not open an LMDB environment twice, so all handles of a directory have
 * one `struct embedded` between them. store_embedded.c opens, store_read.c and
 * store_walk.c read, store_write.c writes, store_repair.c rebuilds.
 */
#ifndef HIVEFS_EMBEDDED_H
#define HIVEFS_EMBEDDED_H

#include "repo/index.h"
#include "repo/repodir.h"
#include "repo/segset.h"
#include "repo/slots.h"
#include "repo/store_ops.h"

struct embedded {
	struct embedded *next; /* of all in this process; registry's lock */
	unsigned users;        /* registry's lock */
	struct repodir *dir;
	struct index *index;
	struct segset *segs;
	struct slots *slots;
	/* the segment changes are appended to; held while in a write
	 * transaction of the index, which is a lock across processes too */
	int journal_fd;
	uint32_t journal_id;
};

struct handle {
	struct store base;
	struct embedded *e;
	unsigned flags;
	_Atomic bool spent; /* the reserve, by this one */
};

static inline struct handle *handle_of(struct store *s)
{
	return (struct handle *)s;
}

/* -EROFS, logged, for a handle that may not write. */
int must_check embedded_writable(const struct handle *h);

/* The same of the index: -EBADMSG, logged, if it cannot be relied on. */
int must_check embedded_changeable(const struct handle *h);

/* Ends what a call that needs space began: -ENOSPC is logged here, unless there
 * was a reserve to spend and the call is worth another attempt (true). */
bool embedded_again(struct handle *h, int r);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * target - the file or block device that a restore writes.
 *
 * A file is written as NAME.partial and gets its name when all of it is on
 * disk, also one that was there before: so what bears the name is whole, and an
 * interrupted restore is seen and can be taken up again.
 *
 * Everything that can be refused is refused by target_check(), before any
 * target of a restore is written to.
 *
 * Ownership  target_check() fills in RET, target_fini() frees what it holds,
 *            also after a failure of the others.
 * Threads    one thread at a time; the blk as in src/blk.h.
 */
#ifndef HIVEFS_TARGET_H
#define HIVEFS_TARGET_H

#include <stdbool.h>

#include "src/blk.h"

struct target_options {
	bool overwrite;     /* what holds data may be lost */
	bool resume;        /* NAME.partial may be continued */
	const char *work;   /* "restore", …: what leaves a NAME.partial */
	const char *remedy; /* "--resume continues it", … */
	uint64_t data;      /* bytes that a new file will take */
	/* of the repository, which must not be written into; NULL: not a path
	 */
	const char *repository;
};

struct target {
	char *name;    /* what it will be called */
	char *partial; /* what it is called until then; NULL: a device */
	int fd;        /* of what is there already, or -1; until there is BLK */
	bool rename_first; /* NAME is there and becomes the partial file */
	bool fresh;        /* holds nothing: reads as zeroes */
	struct blk *blk;   /* a device: from the check on */
};

/*
 * May SIZE bytes be restored to NAME? Changes nothing. Logged: -EEXIST it
 * holds something, -EBUSY mounted or open elsewhere, -ENOSPC too small,
 * -EINVAL no file or device, or inside the repository.
 */
int must_check target_check(const char *name, uint64_t size,
	const struct target_options *options, struct target *ret);

/* Makes it SIZE long and opens it for writing: t->blk. */
int must_check target_prepare(struct target *t, uint64_t size);

/* The same of a file whose bytes are dropped first: it is fresh then. */
int must_check target_prepare_empty(struct target *t, uint64_t size);

/* A file turns out to be only SIZE long; nothing is written behind that. */
int must_check target_cut(struct target *t, uint64_t size);

/* Flushes, and gives the file its name: whole and safe when it returns 0. */
int must_check target_finish(struct target *t);

void target_fini(struct target *t);

/* The path of an embedded repository, from its URL, or NULL; borrowed. */
const char *target_repository(const char *url);

/* A new directory NAME to restore to; -EINVAL, logged, in the repository. */
int must_check target_directory(const char *name, const char *repository);

/* The directory entry PATH survives power loss when it returns 0. */
int must_check target_sync_entry(const char *path);

#endif

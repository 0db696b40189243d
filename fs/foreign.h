/* SPDX-License-Identifier: Apache-2.0 */
/*
 * foreign - small files that programs put beside the views they have open: lock
 * files, and directories of them. They are in memory only and gone when the
 * mount is: to last, a file belongs elsewhere.
 *
 * Ownership  counted: what returns a file returns a reference; foreign_put().
 *            One that was removed stays until the last one is dropped.
 * Threads    any thread.
 * Errors     quiet, as system calls have them; -EFBIG of a file, -ENOSPC of all
 *            of them together.
 */
#ifndef HIVEFS_FOREIGN_H
#define HIVEFS_FOREIGN_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "repo/clone.h"
#include "src/cleanup.h"

#define FOREIGN_MAX (1u << 20)        /* of a file */
#define FOREIGN_TOTAL_MAX (16u << 20) /* of all, with what they cost */

struct foreign;

struct foreigns {
	pthread_mutex_t lock;
	struct foreign *first; /* lock */
	uint64_t cost;         /* lock; of removed ones, too */
	uint64_t next_number;  /* lock */
};

void foreigns_init(struct foreigns *all);
/* All references were dropped. */
void foreigns_fini(struct foreigns *all);

/* A directory of views, by its clone; or, in one, a foreign directory. */
struct foreign_dir {
	struct uuid clone;
	struct foreign *in; /* borrowed; NULL: beside the views */
};

int must_check foreign_find(struct foreigns *all, const struct foreign_dir *dir,
	const char *name, struct foreign **ret);

/* MODE has its type: a regular file or a directory. */
int must_check foreign_make(struct foreigns *all, const struct foreign_dir *dir,
	const char *name, mode_t mode, struct foreign **ret);
int must_check foreign_remove(struct foreigns *all,
	const struct foreign_dir *dir, const char *name, bool is_dir);
/* FLAGS of renameat2(2): RENAME_NOREPLACE or 0. */
int must_check foreign_rename(struct foreigns *all,
	const struct foreign_dir *dir, const char *name,
	const struct foreign_dir *to, const char *to_name, unsigned flags);

/*
 * A visit gets a reference, and may do nothing here; one that returns other
 * than 0 ends it with that value and leaves the reference.
 */
int must_check foreign_list(struct foreigns *all, const struct foreign_dir *dir,
	int (*visit)(void *arg, const char *name, struct foreign *f),
	void *arg);

struct foreign *foreign_ref(struct foreign *f);
void foreign_put(struct foreign *f);
DEFINE_CLEANUP(struct foreign *, foreign_put);

uint64_t foreign_number(const struct foreign *f); /* no other has it */
bool foreign_is_dir(const struct foreign *f);

/* Type and mode, size, blocks, times; the rest is left as it is. */
void foreign_stat(struct foreign *f, struct stat *st);
void foreign_chmod(struct foreign *f, mode_t mode);

/* How many bytes there were at OFF, at most LEN. */
size_t foreign_read(struct foreign *f, uint64_t off, size_t len, void *buf);
int must_check foreign_write(
	struct foreign *f, uint64_t off, size_t len, const void *buf);
int must_check foreign_resize(struct foreign *f, uint64_t len);

#endif

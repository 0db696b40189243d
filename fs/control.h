/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control - what is said to a clone through the mount, as extended attributes
 * of its directory (/clones/NAME, or that of the point whose own it is):
 *   user.hivefs.commit   set: commits it, also while it is written to;
 *                        get: JSON, what the last one here ended with
 *   user.hivefs.discard  set: drops it; -EBUSY while a file of it is open
 *   user.hivefs.status   get: JSON, what is unfolded, who has it, …
 * So that a verb reaches a clone that a mount has, without a second protocol.
 *
 * Threads    any thread.
 * Errors     -ENOENT, quietly: there is no clone; -ENODATA, -EOPNOTSUPP:
 *            no such attribute to get, to set; of open_clone.h.
 */
#ifndef HIVEFS_CONTROL_H
#define HIVEFS_CONTROL_H

#include <pthread.h>
#include <stddef.h>

#include "src/cleanup.h"
#include "src/uuid.h"

struct fs;
struct node;

/* What the last commit of each clone ended with. */
struct commits {
	pthread_mutex_t lock;
	struct committed *first; /* lock */
};

void commits_init(struct commits *all);
void commits_fini(struct commits *all);

int must_check control_set(struct fs *fs, struct node *n, const char *name);

/* RET is owned text. */
int must_check control_get(
	struct fs *fs, struct node *n, const char *name, char **ret);

/* Names that can be got, each with its zero, LEN bytes in all; owned. */
int must_check control_list(
	struct fs *fs, struct node *n, char **ret, size_t *ret_len);

#endif

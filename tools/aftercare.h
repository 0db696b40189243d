/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aftercare - what a verb made for a while only goes when the verb ends,
 * however it ends: a process of its own waits for that, then unmounts and
 * discards. The repository is $HIVEFS_REPO, which others cannot read.
 *
 * Ownership  aftercare_begin() before a repository is opened: it forks.
 *            aftercare_end() is the verb's end.
 * Threads    one thread.
 */
#ifndef HIVEFS_AFTERCARE_H
#define HIVEFS_AFTERCARE_H

#include <stdbool.h>
#include <sys/types.h>

#include "src/cleanup.h"

struct aftercare {
	const char *mount; /* directory to unmount and remove, or NULL */
	const char *clone; /* to be discarded, or NULL; need not exist */
	pid_t pid;         /* 0: not begun */
	int pipe;          /* ends with us */
};

int must_check aftercare_begin(struct aftercare *a);

/* Waits until all is as it was. -EIO, logged, if it could not be. */
int must_check aftercare_end(struct aftercare *a);

#endif

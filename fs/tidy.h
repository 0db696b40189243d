/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tidy - a mount that nobody reads from lets go of files that gc has removed:
 * while it has them open their space is not free.
 *
 * Threads    one of its own, between begin and end.
 */
#ifndef HIVEFS_TIDY_H
#define HIVEFS_TIDY_H

#include <pthread.h>
#include <stdbool.h>

#include "repo/repo.h"

struct tidy {
	struct store *store;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	pthread_cond_t ending;
	bool end; /* lock */
};

/* Borrows S. Without a thread it does without. */
void tidy_begin(struct tidy *t, struct store *s);
void tidy_end(struct tidy *t);

#endif

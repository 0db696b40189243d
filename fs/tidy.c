/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/tidy.h"

#include <errno.h>
#include <time.h>

#include "src/log.h"

#define PAUSE_SECONDS 5

static void *run(void *arg)
{
	struct tidy *t = arg;

	pthread_mutex_lock(&t->lock);
	while (!t->end) {
		struct timespec next;

		clock_gettime(CLOCK_MONOTONIC, &next);
		next.tv_sec += PAUSE_SECONDS;
		if (pthread_cond_clockwait(&t->ending, &t->lock,
			    CLOCK_MONOTONIC, &next) != ETIMEDOUT)
			continue;
		pthread_mutex_unlock(&t->lock);
		store_tidy(t->store);
		pthread_mutex_lock(&t->lock);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

void tidy_begin(struct tidy *t, struct store *s)
{
	*t = (struct tidy){ .store = s };
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->ending, NULL);
	t->running = pthread_create(&t->thread, NULL, run, t) == 0;
	if (!t->running)
		log_debug("mount", "no thread to tidy up");
}

void tidy_end(struct tidy *t)
{
	pthread_mutex_lock(&t->lock);
	t->end = true;
	pthread_cond_signal(&t->ending);
	pthread_mutex_unlock(&t->lock);
	if (t->running)
		pthread_join(t->thread, NULL);
	pthread_cond_destroy(&t->ending);
	pthread_mutex_destroy(&t->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongo_silence - how long a number of somebody else's has stood still, by our
 * own clock, since we first saw it.
 *
 * Threads    any thread.
 */
#ifndef HIVEFS_MONGO_SILENCE_H
#define HIVEFS_MONGO_SILENCE_H

#include <pthread.h>

#include "src/uuid.h"
#include "src/vec.h"

struct silence {
	struct uuid id;
	uint64_t who, number;
	int64_t since; /* ms, monotonic */
};

struct silences {
	pthread_mutex_t lock;
	struct vec(struct silence) seen; /* lock */
};

void silences_init(struct silences *s);
void silences_fini(struct silences *s);

/* 0 where WHO or NUMBER is another than at the last call for ID. */
int64_t silence_ms(struct silences *s, const struct uuid *id, uint64_t who,
	uint64_t number);

#endif

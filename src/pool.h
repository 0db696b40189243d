/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool - threads, for work that is a range of numbers and for work that is
 * best done ahead of time. The only queue of hivefs.
 */
#ifndef HIVEFS_POOL_H
#define HIVEFS_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "src/cleanup.h"

/* Processors this process may run on, at least 1. */
unsigned cpu_count(void);

/*
 * Calls fn(arg, i, thread) once for every i in [0, n), on N_THREADS threads
 * of which the caller is one; THREAD, below n_threads, names the one it runs
 * on, so that each result and each buffer has one writer. Numbers are handed
 * out in rising order. After the first negative return no new number is handed
 * out, and that value is returned; 0 otherwise.
 */
int must_check parallel_for(unsigned n_threads, uint64_t n,
	int (*fn)(void *arg, uint64_t i, unsigned thread), void *arg);

/*
 * A pool runs tasks in the order they came, several at once. Tasks are hints:
 * pool_try() refuses (false) rather than waits when LIMIT of them are pending.
 * pool_free() lets those that run finish and drops the rest by calling
 * drop(arg) for each.
 */
struct pool;
int must_check pool_new(unsigned n_threads, unsigned limit,
	void (*run)(void *arg), void (*drop)(void *arg), struct pool **ret);
bool pool_try(struct pool *p, void *arg);
void pool_free(struct pool *p);
DEFINE_CLEANUP(struct pool *, pool_free);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "src/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "src/log.h"

unsigned cpu_count(void)
{
	cpu_set_t set;
	int n;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return 1;
	n = CPU_COUNT(&set);
	return n > 0 ? (unsigned)n : 1;
}

struct loop {
	int (*fn)(void *arg, uint64_t i, unsigned thread);
	void *arg;
	uint64_t n;
	_Atomic uint64_t next;
	_Atomic int result;
};

struct loop_thread {
	struct loop *loop;
	unsigned number;
	pthread_t id;
};

static void *loop_run(void *arg)
{
	struct loop_thread *t = arg;
	struct loop *l = t->loop;

	while (atomic_load(&l->result) == 0) {
		uint64_t i = atomic_fetch_add(&l->next, 1);
		int none = 0;
		int r;

		if (i >= l->n)
			break;
		r = l->fn(l->arg, i, t->number);
		if (r < 0)
			atomic_compare_exchange_strong(&l->result, &none, r);
	}
	return NULL;
}

int parallel_for(unsigned n_threads, uint64_t n,
	int (*fn)(void *arg, uint64_t i, unsigned thread), void *arg)
{
	struct loop l = { .fn = fn, .arg = arg, .n = n };
	struct loop_thread *threads;
	unsigned started = 1;

	if (n < n_threads)
		n_threads = n ? (unsigned)n : 1;
	threads = calloc(n_threads, sizeof(*threads));
	if (!threads)
		return fail(ENOMEM, "threads: %m");
	for (unsigned t = 0; t < n_threads; t++)
		threads[t] = (struct loop_thread){ .loop = &l, .number = t };
	/* fewer threads than asked for only make it slower */
	while (started < n_threads && pthread_create(&threads[started].id, NULL,
					      loop_run, &threads[started]) == 0)
		started++;
	loop_run(&threads[0]);
	for (unsigned t = 1; t < started; t++)
		pthread_join(threads[t].id, NULL);
	free(threads);
	return atomic_load(&l.result);
}

struct pool {
	void (*run)(void *arg);
	void (*drop)(void *arg);
	unsigned n_threads, limit;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;               /* lock */
	unsigned first, pending; /* lock; a ring in tasks */
	void **tasks;            /* lock */
	pthread_t threads[];
};

static void *pool_thread(void *arg)
{
	struct pool *p = arg;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		void *task;

		while (!p->stop && p->pending == 0)
			pthread_cond_wait(&p->wake, &p->lock);
		if (p->stop)
			break;
		task = p->tasks[p->first];
		p->first = (p->first + 1) % p->limit;
		p->pending--;
		pthread_mutex_unlock(&p->lock);
		p->run(task);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int pool_new(unsigned n_threads, unsigned limit, void (*run)(void *arg),
	void (*drop)(void *arg), struct pool **ret)
{
	struct pool *p =
		calloc(1, sizeof(*p) + n_threads * sizeof(p->threads[0]));

	if (!p)
		return fail(ENOMEM, "threads: %m");
	p->tasks = calloc(limit, sizeof(*p->tasks));
	if (!p->tasks) {
		free(p);
		return fail(ENOMEM, "threads: %m");
	}
	p->run = run;
	p->drop = drop;
	p->limit = limit;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	while (p->n_threads < n_threads) {
		int err = pthread_create(
			&p->threads[p->n_threads], NULL, pool_thread, p);

		if (err) {
			pool_free(p);
			return fail(err, "threads: %m");
		}
		p->n_threads++;
	}
	*ret = p;
	return 0;
}

bool pool_try(struct pool *p, void *arg)
{
	bool taken = false;

	pthread_mutex_lock(&p->lock);
	if (!p->stop && p->pending < p->limit) {
		p->tasks[(p->first + p->pending++) % p->limit] = arg;
		taken = true;
		pthread_cond_signal(&p->wake);
	}
	pthread_mutex_unlock(&p->lock);
	return taken;
}

void pool_free(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	for (unsigned t = 0; t < p->n_threads; t++)
		pthread_join(p->threads[t], NULL);
	for (; p->pending; p->pending--) {
		p->drop(p->tasks[p->first]);
		p->first = (p->first + 1) % p->limit;
	}
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p->tasks);
	free(p);
}

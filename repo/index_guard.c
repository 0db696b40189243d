/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/index_guard.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "src/exit.h"
#include "src/log.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char where[PATH_MAX]; /* lock, but for who is about to exit */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct sigaction old_bus, old_segv;
static _Thread_local unsigned depth;

/*
 * Not async-signal-safe, and need not be: the thread was inside of LMDB, which
 * holds none of the locks that are taken here.
 */
static void give_up(void)
{
	log_error("%s: a page makes no sense: the index is damaged (rebuild it "
		  "with: hivefs repair --index)",
		where);
	log_exit(EXIT_DAMAGE);
}

/* Elsewhere it is what it would be without us, and happens again at once. */
static void on_signal(int number)
{
	if (depth > 0)
		give_up();
	sigaction(number, number == SIGBUS ? &old_bus : &old_segv, NULL);
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGBUS, &action, &old_bus);
	sigaction(SIGSEGV, &action, &old_segv);
}

static void on_assert(MDB_env *env, const char *text)
{
	(void)env;
	log_debug("index", "%s", text);
	give_up();
}

void index_guard(MDB_env *env, const char *dir)
{
	pthread_mutex_lock(&lock);
	snprintf(where, sizeof(where), "%s", dir);
	pthread_mutex_unlock(&lock);
	pthread_once(&once, catch_signals);
	mdb_env_set_assert(env, on_assert);
}

void index_guard_begin(void)
{
	depth++;
}

void index_guard_end(void)
{
	depth--;
}

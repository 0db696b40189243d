/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongo - the connection of a store in MongoDB: clients, concerns, errors and
 * when to try again. What documents look like there: mongo_doc.h.
 *
 * Writes are acknowledged by a majority and its journals, reads give what a
 * majority has, whatever the URI asks for: what was told here is never rolled
 * back by a fail-over.
 *
 * Threads    any thread; a client belongs to one call at a time.
 */
#ifndef HIVEFS_MONGO_H
#define HIVEFS_MONGO_H

#include <mongoc/mongoc.h>

#include "repo/mongo_silence.h"
#include "repo/mongo_wait.h"
#include "repo/store_ops.h"

struct mongo {
	struct store base;
	mongoc_client_pool_t *pool;
	char *db;
	char *name; /* the URI as messages may show it */
	unsigned flags;
	bool tls, has_user;       /* by the URI */
	int64_t patience;         /* ms that a call goes on trying */
	struct silences silences; /* of owners of streams */
	struct mongo_wait wait;
};

static inline struct mongo *mongo_of(const struct store *s)
{
	return (struct mongo *)(uintptr_t)s;
}

int must_check mongo_connect(
	const char *url, unsigned flags, struct mongo **ret);
/* Takes M. Waits a second at the most: a member that does not answer is left
 * to a thread that nobody waits for. */
void mongo_disconnect(struct mongo *m);
DEFINE_CLEANUP(struct mongo *, mongo_disconnect);

/* -EROFS, logged, if it is open for reading only. */
int must_check mongo_writable(const struct mongo *m);

/* A collection by a client of its own, for one call. */
struct mongo_coll {
	struct mongo *m;
	mongoc_client_t *client;
	mongoc_collection_t *c;
};
struct mongo_coll mongo_take(struct mongo *m, const char *coll);
void mongo_give(struct mongo_coll *c);

/*
 * Trying again. A call that may be repeated is made as
 *
 *   struct mongo_try t = mongo_try("chunks: insert");
 *   do {
 *           ok = ...(&reply, &error);
 *   } while (!ok && mongo_again(m, &t, &error));
 *   return ok ? 0 : mongo_fail(m, &t, &error);
 *
 * mongo_again() waits before it says true, longer each time; false: the error
 * will not pass, or the store's patience is over.
 */
struct mongo_try {
	const char *what;
	int64_t since; /* ms, monotonic; 0: nothing went wrong yet */
	unsigned n;    /* failures so far: the outcome of these is unknown */
};

static inline struct mongo_try mongo_try(const char *what)
{
	return (struct mongo_try){ .what = what };
}

bool mongo_again(
	const struct mongo *m, struct mongo_try *t, const bson_error_t *e);
int mongo_fail(const struct mongo *m, const struct mongo_try *t,
	const bson_error_t *e);

/* May it pass by itself: the network, a fail-over, a server that starts? */
bool mongo_is_passing(const bson_error_t *e);

/* Runs a command on the store's database; REPLY is initialised in any case. */
int must_check mongo_command(struct mongo *m, const char *what,
	const bson_t *command, bson_t *reply);

#endif

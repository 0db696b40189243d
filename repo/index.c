/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MDB_NOMETASYNC: a commit makes its pages durable but not the page that names
 * them, so that power loss can undo the last commit and no more; index_sync()
 * completes it. Never MDB_NOSYNC, MDB_MAPASYNC or MDB_WRITEMAP: with those a
 * commit may be lost in parts.
 */
#define _GNU_SOURCE
#include "repo/index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "repo/index_db.h"
#include "repo/index_guard.h"
#include "repo/store_ops.h"
#include "src/bytes.h"
#include "src/log.h"

#define MAP_SIZE (UINT64_C(1) << 40) /* address space, nothing else */
#define MAP_SIZE_MIN (UINT64_C(1) << 30)
#define MAX_READERS 4096
#define SHORT_OF_SPACE (UINT64_C(1) << 20)
#define UPDATES_PER_READER_CHECK 256

const char *index_db_name(unsigned db)
{
	switch (db) {
	case DB_STATE:
		return "state";
	case DB_SEGMENTS:
		return "segments";
	case DB_COUNTS:
		return "counts";
	default:
		return coll_name((enum coll)db);
	}
}

int index_damaged(const struct index *ix, const char *what)
{
	return fail(EBADMSG,
		"%s: %s: the index is damaged (rebuild it with: hivefs repair "
		"--index)",
		ix->dir, what);
}

/* LMDB calls a write that the end of space cut short an I/O error. */
static bool is_full(const struct index *ix)
{
	struct statvfs vfs;
	int fd; /* not the path: a daemon has left the directory it is from */

	return ix->env && mdb_env_get_fd(ix->env, &fd) == 0 &&
	       fstatvfs(fd, &vfs) == 0 &&
	       (uint64_t)vfs.f_bavail * vfs.f_frsize < SHORT_OF_SPACE;
}

int index_error(const struct index *ix, int rc, const char *what)
{
	if (rc == EIO && is_full(ix))
		return -ENOSPC;
	switch (rc) {
	case MDB_SUCCESS:
		return 0;
	case ENOSPC:
	case EDQUOT:
		return -ENOSPC;
	case MDB_MAP_FULL:
		return INDEX_MAP_FULL;
	case MDB_NOTFOUND:
	case MDB_PAGE_NOTFOUND:
	case MDB_CORRUPTED:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_INCOMPATIBLE:
	case MDB_CURSOR_FULL:
	case MDB_PAGE_FULL:
	case MDB_BAD_TXN:
		return fail(EBADMSG,
			"%s: %s: %s: the index is damaged (rebuild it with: "
			"hivefs repair --index)",
			ix->dir, what, mdb_strerror(rc));
	default:
		if (rc > 0)
			return fail(rc, "%s: %s: %m", ix->dir, what);
		return fail(EIO, "%s: %s: %s", ix->dir, what, mdb_strerror(rc));
	}
}

/* More pages than our map shows, or than it can take: twice the map. */
static int map_grow(struct index *ix, size_t seen)
{
	MDB_envinfo info;
	int rc;

	pthread_rwlock_wrlock(&ix->map_lock);
	rc = mdb_env_info(ix->env, &info);
	if (rc == 0 && info.me_mapsize == seen)
		rc = mdb_env_set_mapsize(ix->env, info.me_mapsize * 2);
	pthread_rwlock_unlock(&ix->map_lock);
	return index_error(ix, rc, "a larger map");
}

static size_t map_size(struct index *ix)
{
	MDB_envinfo info = { 0 };

	if (mdb_env_info(ix->env, &info) != 0)
		return 0;
	return info.me_mapsize;
}

/* Guarded from here on, until the transaction has ended. */
static int txn_begin(struct index *ix, unsigned flags, MDB_txn **ret)
{
	int rc;

	index_guard_begin();
	for (;;) {
		size_t seen;

		pthread_rwlock_rdlock(&ix->map_lock);
		rc = mdb_txn_begin(ix->env, NULL, flags, ret);
		if (rc == MDB_READERS_FULL) {
			int dead = 0;

			if (mdb_reader_check(ix->env, &dead) == 0 && dead > 0)
				rc = mdb_txn_begin(ix->env, NULL, flags, ret);
		}
		if (rc == 0)
			return 0;
		seen = map_size(ix);
		pthread_rwlock_unlock(&ix->map_lock);
		if (rc == MDB_MAP_RESIZED)
			rc = map_grow(ix, seen);
		else
			rc = index_error(ix, rc, "transaction");
		if (rc < 0) {
			index_guard_end();
			return rc;
		}
	}
}

/*
 * Transactions are kept and renewed: a new one costs 0.5 µs more and takes a
 * mutex that all processes share.
 */
int index_read(struct index *ix, struct index_txn *ret)
{
	MDB_txn *txn = NULL;
	int r;

	pthread_mutex_lock(&ix->lock);
	if (ix->n_idle > 0)
		txn = ix->idle[--ix->n_idle];
	pthread_mutex_unlock(&ix->lock);
	if (txn) {
		index_guard_begin();
		pthread_rwlock_rdlock(&ix->map_lock);
		if (mdb_txn_renew(txn) != 0) {
			mdb_txn_abort(txn);
			pthread_rwlock_unlock(&ix->map_lock);
			index_guard_end();
			txn = NULL;
		}
	}
	if (!txn) {
		r = txn_begin(ix, MDB_RDONLY, &txn);
		if (r < 0)
			return r;
	}
	ret->ix = ix;
	ret->txn = txn;
	ret->count_changed = 0;
	ret->live_segment = 0;
	return 0;
}

void index_read_end(struct index_txn *t)
{
	struct index *ix = t->ix;
	MDB_txn *txn = take(t->txn);

	mdb_txn_reset(txn);
	pthread_rwlock_unlock(&ix->map_lock);
	index_guard_end();
	pthread_mutex_lock(&ix->lock);
	if (ix->n_idle < N_ELEMS(ix->idle))
		ix->idle[ix->n_idle++] = take(txn);
	pthread_mutex_unlock(&ix->lock);
	if (txn)
		mdb_txn_abort(txn);
}

int index_update(
	struct index *ix, int (*fn)(struct index_txn *t, void *arg), void *arg)
{
	bool check;
	int r;

	pthread_mutex_lock(&ix->lock);
	check = ix->n_updates++ % UPDATES_PER_READER_CHECK == 0;
	pthread_mutex_unlock(&ix->lock);
	if (check)
		mdb_reader_check(ix->env, NULL);
	for (;;) {
		struct index_txn t = { .ix = ix };
		size_t seen;

		r = txn_begin(ix, 0, &t.txn);
		if (r < 0)
			return r;
		seen = map_size(ix);
		r = index_pages_begin(ix, t.txn);
		if (r == 0)
			r = fn(&t, arg);
		if (r == 0)
			r = index_flush(&t);
		if (r == 0)
			r = index_error(ix, mdb_txn_commit(t.txn), "commit");
		else
			mdb_txn_abort(t.txn);
		pthread_rwlock_unlock(&ix->map_lock);
		index_guard_end();
		if (r != INDEX_MAP_FULL)
			return r;
		r = map_grow(ix, seen);
		if (r < 0)
			return r;
	}
}

static int touch(struct index_txn *t, void *arg)
{
	struct index_state state;
	int r = index_state(t, &state);

	(void)arg;
	return r < 0 ? r : index_set_state(t, &state);
}

/*
 * After a failed sync the kernel calls pages clean that never reached the disk.
 * Those of the transactions were synced by the commits; what may be missing is
 * one of the two pages that name a state, so both are written anew.
 */
int index_sync(struct index *ix)
{
	bool failed;
	int r = 0;

	if (ix->read_only)
		return 0;
	pthread_mutex_lock(&ix->lock);
	failed = ix->sync_failed;
	pthread_mutex_unlock(&ix->lock);
	if (failed)
		r = index_update(ix, touch, NULL);
	if (failed && r == 0)
		r = index_update(ix, touch, NULL);
	if (r == 0)
		r = index_error(ix, mdb_env_sync(ix->env, 1), "sync");
	pthread_mutex_lock(&ix->lock);
	ix->sync_failed = r < 0;
	pthread_mutex_unlock(&ix->lock);
	return r;
}

void index_close(struct index *ix)
{
	while (ix->n_idle > 0)
		mdb_txn_abort(ix->idle[--ix->n_idle]);
	if (ix->env)
		mdb_env_close(ix->env);
	index_pages_fini(&ix->pages);
	pthread_rwlock_destroy(&ix->map_lock);
	pthread_mutex_destroy(&ix->lock);
	free(ix->dir);
	free(ix);
}

static int env_try(struct index *ix, unsigned flags, size_t size)
{
	int rc = mdb_env_create(&ix->env);

	if (rc == 0)
		index_guard(ix->env, ix->dir);
	if (rc == 0)
		rc = mdb_env_set_mapsize(ix->env, size);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(ix->env, INDEX_N_DBS + 1);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(ix->env, MAX_READERS);
	if (rc == 0)
		rc = mdb_env_open(ix->env, ix->dir, flags, 0600);
	if (rc != 0 && ix->env) {
		mdb_env_close(ix->env);
		ix->env = NULL;
	}
	return rc;
}

static int check_states(struct index *ix)
{
	scoped(freep) char *path = NULL;
	scoped(closep) int fd = -1;

	if (asprintf(&path, "%s/data.mdb", ix->dir) < 0)
		return fail(ENOMEM, "%s: %m", ix->dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(errno, "%s: %m", path);
	return page_states_make_sense(fd)
		       ? 0
		       : index_damaged(ix, "what names a state makes no sense");
}

static int env_open(struct index *ix, unsigned flags)
{
	unsigned mdb = MDB_NOTLS | MDB_NOMETASYNC;
	size_t size = MAP_SIZE;
	int rc;

	if (flags & INDEX_READ_ONLY)
		mdb |= MDB_RDONLY;
	if (flags & INDEX_NO_LOCK)
		mdb |= MDB_NOLOCK;
	/* a limit on address space makes the map smaller, not impossible */
	while ((rc = env_try(ix, mdb, size)) != 0 &&
		(rc == ENOMEM || rc == EINVAL) && size > MAP_SIZE_MIN)
		size /= 2;
	return index_error(ix, rc, "open");
}

/* With other flags the same pages would be read as something else. */
static int open_db(struct index *ix, MDB_txn *txn, unsigned db, unsigned flags)
{
	unsigned has;
	int rc = mdb_dbi_open(txn, index_db_name(db), flags, &ix->dbi[db]);

	if (rc == 0)
		rc = mdb_dbi_flags(txn, ix->dbi[db], &has);
	if (rc == 0 && has != 0)
		rc = MDB_CORRUPTED;
	return index_error(ix, rc, index_db_name(db));
}

static int open_dbs(struct index *ix, unsigned flags)
{
	MDB_txn *txn;
	int rc;

	rc = mdb_txn_begin(
		ix->env, NULL, flags & MDB_CREATE ? 0 : MDB_RDONLY, &txn);
	if (rc != 0)
		return index_error(ix, rc, "open");
	for (unsigned db = 0; db < INDEX_N_DBS; db++) {
		int r = open_db(ix, txn, db, flags);

		if (r < 0) {
			mdb_txn_abort(txn);
			return r;
		}
	}
	return index_error(ix, mdb_txn_commit(txn), "open");
}

static int index_new(
	const char *dir, const struct uuid *uuid, struct index **ret)
{
	struct index *ix = calloc(1, sizeof(*ix));

	if (!ix)
		return fail(ENOMEM, "%s: %m", dir);
	ix->uuid = *uuid;
	pthread_rwlock_init(&ix->map_lock, NULL);
	pthread_mutex_init(&ix->lock, NULL);
	ix->dir = strdup(dir);
	if (!ix->dir) {
		index_close(ix);
		return fail(ENOMEM, "%s: %m", dir);
	}
	*ret = ix;
	return 0;
}

static int init(struct index_txn *t, void *arg)
{
	(void)arg;
	return index_init(t);
}

int index_create(const char *dir, const struct uuid *uuid)
{
	scoped(index_closep) struct index *ix = NULL;
	int r = index_new(dir, uuid, &ix);

	if (r == 0)
		r = env_open(ix, 0);
	if (r == 0)
		r = open_dbs(ix, MDB_CREATE);
	if (r == 0)
		r = index_update(ix, init, NULL);
	if (r == 0)
		r = index_sync(ix);
	return r;
}

static int open_existing(const char *dir, const struct uuid *uuid,
	unsigned flags, struct index **ret)
{
	scoped(index_closep) struct index *ix = NULL;
	struct index_txn t;
	int r = index_new(dir, uuid, &ix);

	if (r == 0)
		r = check_states(ix);
	if (r == 0)
		r = env_open(ix, flags);
	if (r == 0)
		r = open_dbs(ix, 0);
	if (r < 0)
		return r;
	ix->read_only = flags & INDEX_READ_ONLY;
	if (!(flags & INDEX_NO_LOCK))
		mdb_reader_check(ix->env, NULL);
	r = index_read(ix, &t);
	if (r < 0)
		return r;
	r = index_check(&t);
	index_read_end(&t);
	if (r < 0)
		return r;
	*ret = take(ix);
	return 0;
}

int index_open(const char *dir, const struct uuid *uuid, unsigned flags,
	struct index **ret)
{
	int r;

	index_guard_begin();
	r = open_existing(dir, uuid, flags, ret);
	index_guard_end();
	return r;
}

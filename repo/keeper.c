/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/keeper.h"

#include <errno.h>
#include <sys/resource.h>
#include <time.h>

#include "src/bytes.h"
#include "src/log.h"

#define STREAM_QUIET (UINT64_C(128) << 20)
#define STREAM_SOFT (UINT64_C(256) << 20)
#define STREAM_HARD (UINT64_C(512) << 20)
#define STREAM_AT_ONCE (UINT64_C(128) << 20) /* beside a fold */
#define MEMORY_SOFT (UINT64_C(32) << 20)
#define MEMORY_HARD (UINT64_C(128) << 20)

#define SYNC_SECONDS 5
#define QUIET_SECONDS 5
#define RETRY_SECONDS 2  /* after a fold that failed */
#define CARRY_SECONDS 30 /* after one that let go of nothing */
#define PAUSE_NS 1000000

/*
 * Writing to the disk is begun while records still come, so that a sync, or a
 * new file, does not wait for 64 MiB of the old one. Not by the writer: for 4
 * MiB that takes it 2 ms and more.
 */
#define FLUSH_STEP (UINT64_C(4) << 20)

/*
 * Beside the guest's own work folding takes what is left of the processors; not
 * the least there is, as it holds the store's write lock now and then.
 */
#define FOLD_NICE 15

struct live_load keeper_load(const struct keeper *k)
{
	struct live_load all = { 0 };

	for (size_t i = 0; i < k->n_disks; i++) {
		struct live_load l = live_load(k->disks[i]);

		all.stream_bytes += l.stream_bytes;
		all.memory += l.memory;
	}
	return all;
}

static bool above(const struct live_load *l, uint64_t stream, uint64_t memory)
{
	return l->stream_bytes > stream || l->memory > memory;
}

static void ask_for_fold(struct keeper *k)
{
	if (!atomic_exchange(&k->asked, true))
		sem_post(&k->fold_wake);
}

/* Of the stream, at this moment. */
static uint64_t bound(const struct keeper *k)
{
	uint64_t frozen = atomic_load(&k->frozen);
	uint64_t all = MAX_OF(atomic_load(&k->control.all), UINT64_C(1));
	uint64_t done = MIN_OF(atomic_load(&k->control.done), all);
	uint64_t low = frozen + STREAM_AT_ONCE;

	if (frozen == 0 || low >= STREAM_HARD)
		return STREAM_HARD;
	return low + (STREAM_HARD - low) / all * done;
}

/* Once, however many writes it is that are refused. */
static void say_refused(struct keeper *k, const struct live_load *l, int err)
{
	if (atomic_exchange(&k->refusing, true))
		return;
	fail(-err,
		"%s: %llu MiB wait to be folded and cannot be; writes are "
		"refused until they can: %m",
		live_name(k->disks[0]),
		(unsigned long long)(l->stream_bytes >> 20));
}

int keeper_admit(struct keeper *k)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	struct live_load l = keeper_load(k);

	if (!above(&l, STREAM_SOFT, MEMORY_SOFT))
		return 0;
	ask_for_fold(k);
	while (above(&l, bound(k), MEMORY_HARD)) {
		int failed = atomic_load(&k->failed);

		ask_for_fold(k); /* the one we asked for may be over */
		if (failed < 0 && above(&l, STREAM_HARD, MEMORY_HARD)) {
			failed = failed == -ENOSPC ? -ENOSPC : -EIO;
			say_refused(k, &l, failed);
			return failed;
		}
		nanosleep(&pause, NULL);
		l = keeper_load(k);
	}
	return 0;
}

void keeper_wrote(struct keeper *k, uint64_t len)
{
	uint64_t before = atomic_fetch_add(&k->unflushed, len);

	if ((before < FLUSH_STEP && before + len >= FLUSH_STEP) ||
		(!atomic_load(&k->dirty) && !atomic_exchange(&k->dirty, true)))
		sem_post(&k->sync_wake);
}

void keeper_fold_begin(struct keeper *k)
{
	atomic_store(&k->control.done, 0);
	atomic_store(&k->control.all, 0);
	atomic_store(
		&k->frozen, MAX_OF(keeper_load(k).stream_bytes, UINT64_C(1)));
}

/*
 * What lies over damage a fold only carries along in the stream. Where it is
 * nearly all, nothing is let go of however often that is done, and who waits
 * for it would wait forever.
 */
static void set_result(struct keeper *k, int result)
{
	struct live_load l = keeper_load(k);

	if (result == -ECANCELED)
		return;
	if (result == 0 && above(&l, STREAM_HARD, MEMORY_HARD))
		result = -EBADMSG;
	atomic_store(&k->failed, result);
	if (result == 0 && atomic_exchange(&k->refusing, false))
		log_info("%s: is written to again", live_name(k->disks[0]));
}

void keeper_fold_end(struct keeper *k, int result)
{
	atomic_store(&k->frozen, 0);
	set_result(k, result);
}

static void sync_all(struct keeper *k)
{
	for (size_t i = 0; i < k->n_disks; i++)
		if (live_sync(k->disks[i]) < 0)
			log_debug("clone", "not synced");
}

static void flush_all(struct keeper *k)
{
	atomic_store(&k->unflushed, 0);
	for (size_t i = 0; i < k->n_disks; i++)
		live_flush(k->disks[i]);
}

static void after_seconds(int seconds, struct timespec *ret)
{
	clock_gettime(CLOCK_REALTIME, ret);
	ret->tv_sec += seconds;
}

/* False once UNTIL has come. */
static bool wait_for(sem_t *wake, const struct timespec *until)
{
	return sem_timedwait(wake, until) == 0 || errno == EINTR;
}

/* Until something is written; if QUIET only so long, and false then. */
static bool wait_for_write(struct keeper *k, bool quiet)
{
	struct timespec until;

	after_seconds(QUIET_SECONDS, &until);
	while (!atomic_load(&k->stop) && !atomic_load(&k->dirty)) {
		if (!quiet)
			sem_wait(&k->sync_wake);
		else if (!wait_for(&k->sync_wake, &until))
			return false;
	}
	return true;
}

static void flush_until_due(struct keeper *k)
{
	struct timespec until;

	after_seconds(SYNC_SECONDS, &until);
	while (!atomic_load(&k->stop) && wait_for(&k->sync_wake, &until))
		if (atomic_load(&k->unflushed) >= FLUSH_STEP)
			flush_all(k);
}

static bool is_worth_folding(const struct keeper *k)
{
	return keeper_load(k).stream_bytes > STREAM_QUIET;
}

static void *keep_synced(void *arg)
{
	struct keeper *k = arg;
	bool quiet = is_worth_folding(k);

	while (!atomic_load(&k->stop)) {
		if (!wait_for_write(k, quiet)) {
			ask_for_fold(k);
			quiet = false;
			continue;
		}
		flush_until_due(k);
		/* first, so that what is written from now on asks again */
		atomic_store(&k->dirty, false);
		sync_all(k);
		quiet = is_worth_folding(k);
	}
	return NULL;
}

/* Nothing is to be got by trying at once, but for work. */
static void wait_before_retry(struct keeper *k, int seconds)
{
	struct timespec until;

	after_seconds(seconds, &until);
	while (!atomic_load(&k->stop) && wait_for(&k->fold_wake, &until))
		;
}

static void *keep_folded(void *arg)
{
	struct keeper *k = arg;

	(void)setpriority(PRIO_PROCESS, 0, FOLD_NICE);
	while (!atomic_load(&k->stop)) {
		int r;

		if (!atomic_load(&k->asked)) {
			sem_wait(&k->fold_wake);
			continue;
		}
		r = k->fold(k->arg);
		if (r < 0) {
			set_result(k, r);
			wait_before_retry(k, RETRY_SECONDS);
		} else if (atomic_load(&k->failed) < 0) {
			wait_before_retry(k, CARRY_SECONDS);
		}
		atomic_store(&k->asked, false);
	}
	return NULL;
}

int keeper_start(struct keeper *k)
{
	int err;

	sem_init(&k->fold_wake, 0, 0);
	sem_init(&k->sync_wake, 0, 0);
	err = pthread_create(&k->syncer, NULL, keep_synced, k);
	k->n_threads += err == 0;
	if (err == 0)
		err = pthread_create(&k->folder, NULL, keep_folded, k);
	k->n_threads += err == 0;
	if (err == 0)
		return 0;
	keeper_stop(k);
	return fail(err, "clone: %m");
}

void keeper_stop(struct keeper *k)
{
	atomic_store(&k->stop, true);
	atomic_store(&k->control.stop, true);
	sem_post(&k->sync_wake);
	sem_post(&k->fold_wake);
	if (k->n_threads > 0)
		pthread_join(k->syncer, NULL);
	if (k->n_threads > 1)
		pthread_join(k->folder, NULL);
	k->n_threads = 0;
	sem_destroy(&k->fold_wake);
	sem_destroy(&k->sync_wake);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/mongo_sender.h"

#include <errno.h>
#include <time.h>

#include "repo/mongo_owner.h"
#include "repo/mongo_replay.h"
#include "src/log.h"
#include "src/monotonic.h"

/* Bytes that wait to be sent; then append waits, too. */
#define WAITING_MAX (32u << 20)

int group_insert(struct mongo *m, const struct uuid *stream,
	const struct group *g, const struct stream_owner *owner)
{
	struct mongo_try t = mongo_try(MONGO_STREAMS);
	struct group there;
	bson_error_t e;
	bson_t b;
	bool ok;
	int r;

	group_encode(g, stream, owner, &b);
	do {
		struct mongo_coll c = mongo_take(m, MONGO_STREAMS);

		ok = mongoc_collection_insert_one(c.c, &b, NULL, NULL, &e);
		mongo_give(&c);
	} while (!ok && mongo_again(m, &t, &e));
	bson_destroy(&b);
	if (ok)
		return 0;
	if (e.code != MONGOC_ERROR_DUPLICATE_KEY)
		return mongo_fail(m, &t, &e);
	/* ours, if the reply to an earlier try was lost */
	r = replay_one(m, stream, g->seq, true, &there);
	if (r < 0)
		return r == -ENOENT || r == -EBADMSG ? -EEXIST : r;
	return there.by == g->by && there.kind == g->kind && there.n == g->n
		       ? 0
		       : -EEXIST;
}

/* Lock held. */
static void lose(struct sender *s)
{
	struct mongo_owner o;
	char text[UUID_TEXT];

	if (!s->lost) {
		pthread_mutex_unlock(&s->lock);
		if (owner_look(s->m, s->stream, &o) < 0)
			o = (struct mongo_owner){ 0 };
		fail(ESTALE,
			"stream %s: was taken over by %s, process %lld, %s: "
			"what was not synced is lost",
			uuid_text(s->stream, text),
			o.who.host[0] ? o.who.host : "another",
			(long long)o.who.pid, o.who.place);
		pthread_mutex_lock(&s->lock);
	}
	s->lost = true;
	pthread_cond_broadcast(&s->done);
}

/* Lock held, but not while it is sent. */
static void send_one(struct sender *s, const struct group *g)
{
	uint64_t next;
	int r;

	s->sending = true;
	next = group_next(g);
	pthread_mutex_unlock(&s->lock);
	r = group_insert(s->m, s->stream, g, NULL);
	pthread_mutex_lock(&s->lock);
	s->sending = false;
	s->failed = r;
	if (r == 0) {
		groups_sent(s->groups);
		s->acked = next;
	} else if (r == -EEXIST) {
		lose(s);
	}
	pthread_cond_broadcast(&s->done);
}

static void wait_ms(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_cond_timedwait(cond, lock, &until);
}

static void beat(struct sender *s, int64_t *last)
{
	int64_t now = monotonic_ms();
	int r;

	if (now - *last < OWNER_BEAT_MS)
		return;
	*last = now;
	pthread_mutex_unlock(&s->lock);
	r = owner_beat(s->m, s->stream, s->own);
	pthread_mutex_lock(&s->lock);
	if (r == 1)
		lose(s);
}

static void *run(void *arg)
{
	struct sender *s = arg;
	int64_t beaten = monotonic_ms();

	pthread_mutex_lock(&s->lock);
	while (!s->lost) {
		const struct group *g = groups_unsent(s->groups);

		if (s->stop && (!g || s->failed))
			break;
		if (g)
			send_one(s, g);
		if (!s->lost)
			beat(s, &beaten);
		if (!s->stop && !s->lost && (!g || s->failed) &&
			(s->failed || !groups_unsent(s->groups)))
			wait_ms(&s->work, &s->lock, OWNER_BEAT_MS);
	}
	if (groups_unsent(s->groups) && !s->lost)
		log_error("stream: what was written last could not be sent "
			  "and is lost");
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int sender_begin(struct sender *s, struct mongo *m, const struct uuid *stream,
	struct groups *groups, uint64_t own, uint64_t next, uint64_t place)
{
	pthread_condattr_t monotonic;
	int r;

	*s = (struct sender){ .m = m,
		.stream = stream,
		.groups = groups,
		.own = own,
		.next = next,
		.place = place,
		.acked = next };
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&s->work, &monotonic);
	pthread_cond_init(&s->done, &monotonic);
	pthread_condattr_destroy(&monotonic);
	r = pthread_create(&s->thread, NULL, run, s);
	return r ? fail(r, "stream: %m") : 0;
}

void sender_end(struct sender *s)
{
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->work);
	pthread_cond_destroy(&s->done);
	pthread_mutex_destroy(&s->lock);
}

/* Lock held. */
static int wait_for_room(struct sender *s)
{
	while (!s->lost && groups_waiting(s->groups) > WAITING_MAX) {
		if (s->failed)
			return s->failed;
		pthread_cond_wait(&s->done, &s->lock);
	}
	return s->lost ? -ESTALE : 0;
}

int sender_append(struct sender *s, const struct iovec *iov, int n_iov,
	uint32_t len, uint64_t *ret_seq, uint64_t *ret_place)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = wait_for_room(s);
	if (r == 0)
		r = groups_append(s->groups, s->next, s->place, s->own, iov,
			n_iov, len, !s->sending);
	if (r == 0) {
		*ret_seq = s->next++;
		*ret_place = s->place;
		s->place += len;
		pthread_cond_signal(&s->work);
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

int sender_sync(struct sender *s)
{
	uint64_t want;
	int r;

	pthread_mutex_lock(&s->lock);
	want = s->next;
	s->failed = 0; /* one more try */
	pthread_cond_signal(&s->work);
	while (s->acked < want && !s->lost && !s->failed)
		pthread_cond_wait(&s->done, &s->lock);
	r = s->acked >= want ? 0 : s->lost ? -ESTALE : s->failed;
	pthread_mutex_unlock(&s->lock);
	return r;
}

uint64_t sender_next(struct sender *s)
{
	uint64_t next;

	pthread_mutex_lock(&s->lock);
	next = s->next;
	pthread_mutex_unlock(&s->lock);
	return next;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/shard.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/bytes.h"
#include "src/log.h"

/* The buckets come first in its memory, then the arena. */
void shard_init(struct shard *s, uint8_t *memory, size_t len)
{
	size_t n = 8;
	size_t table;

	/* a bucket for every 2 KiB costs 0.4 % and is one for every leaf */
	while (n * 2 * 2048 <= len)
		n *= 2;
	table = round_up(n * sizeof(struct shard_entry *), 64);
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->landed, NULL);
	s->buckets = (struct shard_entry **)(void *)memory;
	s->mask = n - 1;
	arena_init(&s->arena, memory + table, len - table);
}

void shard_fini(struct shard *s)
{
	assert(!s->flights);
	for (struct slot *x = s->arena.head.next; x != &s->arena.head;
		x = x->next)
		assert(atomic_load(&x->refs) == 1); /* a put is owed */
	arena_fini(&s->arena);
	pthread_cond_destroy(&s->landed);
	pthread_mutex_destroy(&s->lock);
}

static struct shard_entry **bucket_of(struct shard *s, const struct digest *d)
{
	return &s->buckets[get_le64(d->b + 8) & s->mask];
}

/* The lock is held here and down to wait_for(). */
static struct shard_entry *find(struct shard *s, const struct digest *d)
{
	struct shard_entry *e = *bucket_of(s, d);

	while (e && !digest_eq(&e->pub.digest, d))
		e = e->chain;
	return e;
}

static void drop(void *arg, struct slot *slot)
{
	struct shard_entry *e = (struct shard_entry *)(void *)slot;
	struct shard_entry **p = bucket_of(arg, &e->pub.digest);

	if (!e->listed)
		return;
	while (*p != e)
		p = &(*p)->chain;
	*p = e->chain;
}

static struct flight *find_flight(struct shard *s, const struct digest *d)
{
	struct flight *f = s->flights;

	while (f && !digest_eq(&f->digest, d))
		f = f->next;
	return f;
}

static struct flight *flight_new(
	struct shard *s, const struct digest *d, unsigned level)
{
	struct flight *f = calloc(1, sizeof(*f));

	if (f) {
		f->digest = *d;
		f->level = level;
		f->next = s->flights;
		s->flights = f;
		s->misses++;
	}
	return f;
}

static int wait_for(struct shard *s, struct flight *f, unsigned level,
	struct shard_entry **ret)
{
	bool other_level = f->level != level;
	int r;

	f->waiters++;
	while (!f->landed)
		pthread_cond_wait(&s->landed, &s->lock);
	r = f->result;
	*ret = f->entry;
	if (--f->waiters == 0)
		free(f);
	/* it may have failed for what only the other one took it for */
	return r < 0 && other_level ? 1 : r;
}

static struct shard_entry *hit(struct shard *s, const struct digest *d)
{
	struct shard_entry *e = find(s, d);

	if (e) {
		s->hits++;
		e->slot.used = true;
		atomic_fetch_add_explicit(
			&e->slot.refs, 1, memory_order_relaxed);
	}
	return e;
}

/* One pass of shard_get(): 2 if it is to look again. */
static int look(struct shard *s, const struct digest *d, unsigned level,
	struct shard_entry **ret, struct flight **ret_flight)
{
	struct flight *f;

	*ret = hit(s, d);
	if (*ret)
		return 0;
	f = find_flight(s, d);
	if (f) {
		int r = wait_for(s, f, level, ret);

		s->hits += r == 0;
		return r > 0 ? 2 : r;
	}
	f = flight_new(s, d, level);
	if (!f)
		return fail(ENOMEM, "cache: %m");
	*ret_flight = f;
	return 1;
}

int shard_get(struct shard *s, const struct digest *d, unsigned level,
	struct shard_entry **ret, struct flight **ret_flight)
{
	int r;

	pthread_mutex_lock(&s->lock);
	do
		r = look(s, d, level, ret, ret_flight);
	while (r == 2);
	pthread_mutex_unlock(&s->lock);
	return r;
}

struct shard_entry *shard_peek(struct shard *s, const struct digest *d)
{
	struct shard_entry *e;

	pthread_mutex_lock(&s->lock);
	e = hit(s, d);
	pthread_mutex_unlock(&s->lock);
	return e;
}

struct flight *shard_claim(struct shard *s, const struct digest *d)
{
	struct flight *f = NULL;

	pthread_mutex_lock(&s->lock);
	if (!find(s, d) && !find_flight(s, d))
		f = flight_new(s, d, 0);
	pthread_mutex_unlock(&s->lock);
	return f;
}

/* Where the arena has no room it lies apart. Filled without the lock. */
struct shard_entry *shard_entry_new(
	struct shard *s, const struct digest *d, unsigned level, uint32_t len)
{
	size_t size = sizeof(struct shard_entry) + len;
	struct shard_entry *e;
	bool apart;

	pthread_mutex_lock(&s->lock);
	e = (struct shard_entry *)(void *)arena_take(&s->arena, size, drop, s);
	pthread_mutex_unlock(&s->lock);
	apart = !e;
	if (apart) {
		e = malloc(size);
		if (!e)
			return NULL;
		atomic_init(&e->slot.refs, 1);
	}
	e->pub.digest = *d;
	e->pub.len = len;
	e->pub.data = e->bytes;
	e->chain = NULL;
	e->level = (uint8_t)level;
	e->apart = apart;
	e->listed = false;
	return e;
}

void shard_land(
	struct shard *s, struct flight *f, struct shard_entry *e, int result)
{
	struct flight **p = &s->flights;

	pthread_mutex_lock(&s->lock);
	while (*p != f)
		p = &(*p)->next;
	*p = f->next;
	if (e && !e->apart) {
		struct shard_entry **bucket = bucket_of(s, &e->pub.digest);

		e->chain = *bucket;
		*bucket = e;
		e->listed = true;
	}
	if (e)
		atomic_fetch_add_explicit(
			&e->slot.refs, f->waiters, memory_order_relaxed);
	f->entry = e;
	f->result = e ? 0 : result;
	f->landed = true;
	if (f->waiters)
		pthread_cond_broadcast(&s->landed);
	else
		free(f);
	pthread_mutex_unlock(&s->lock);
}

void shard_put(struct shard_entry *e)
{
	/* the arena's own reference keeps those in it from ever coming to 0 */
	if (atomic_fetch_sub_explicit(&e->slot.refs, 1, memory_order_acq_rel) ==
		1)
		free(e);
}

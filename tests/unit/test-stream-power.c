/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards streams against owners that are killed and then power loss, at any
 * call, and again while the next owner takes over what was left: what is
 * replayed is a prefix of what was appended and holds all that a sync returned
 * for; nothing of it is taken for damage; what was lost does not come back.
 */
#define _GNU_SOURCE
#include "power.h"
#include "stream_help.h"

struct mark {
	size_t at;      /* calls recorded by then */
	uint64_t value; /* from then on */
};
struct marks vec(struct mark);

static void mark(struct marks *m, uint64_t value)
{
	assert_int_equal(vec_add(m, (struct mark){ power.log.n, value }), 0);
}

static uint64_t value_at(const struct marks *m, size_t k)
{
	uint64_t v = 0;

	for (size_t i = 0; i < m->n && m->v[i].at <= k; i++)
		v = m->v[i].value;
	return v;
}

/* Of this owner's life, as calls are counted. */
struct life {
	struct marks appended; /* so many records */
	struct marks synced;
	struct marks from; /* published, and there for good */
};

/* One thing that an owner does; a negative errno if it was killed. */
static int act(
	struct stream *st, struct life *l, struct recs *all, uint64_t *from)
{
	uint64_t dice = power_random(100);
	int r = 0;

	if (dice < 72) {
		mark(&l->appended, all->n + 1);
		r = help_append(st,
			(uint32_t)power_random(dice < 70 ? 3000 : 70000), all);
		if (r < 0)
			mark(&l->appended, all->n);
	} else if (dice < 90) {
		r = stream_sync(st);
		if (r == 0)
			mark(&l->synced, all->n);
	} else {
		*from = stream_next(st);
		mark(&l->from, *from);
		if (dice < 96)
			r = stream_trim(st, *from);
	}
	return r;
}

static void live(
	struct store *s, struct life *l, struct recs *all, uint64_t *from)
{
	struct recs got = { 0 };
	struct stream *st;
	int r = stream_open(
		s, &help_stream, *from, &help_me, help_visit, &got, &st);
	bool killed = power.log.n >= power.die_at;

	assert_true(r == 0 || (r == -EIO && killed));
	if (r == 0) {
		assert_true(help_same(&got, all, *from));
		mark(&l->synced, all->n);
		for (unsigned n = (unsigned)power_random(30); n > 0; n--) {
			r = act(st, l, all, from);
			killed = power.log.n >= power.die_at;
			assert_true(r == 0 || (r == -EIO && killed));
			if (killed)
				break;
		}
		stream_close(st);
	}
	vec_fini(&got);
}

/* Returns what is left of ALL. */
static void check(struct store *s, const struct life *l, struct recs *all,
	size_t k, uint64_t *from)
{
	size_t low = value_at(&l->synced, k), high = value_at(&l->appended, k);
	struct recs got = { 0 };

	*from = value_at(&l->from, k);
	high = MIN_OF(high, all->n);
	assert_int_equal(help_peek(s, *from, &got), 0);
	assert_true(help_prefix(&got, all, *from));
	/* those before FROM are in the map */
	for (size_t i = 0; i < low; i++)
		if (all->v[i].seq >= *from)
			assert_true(got.n > 0 &&
				    got.v[got.n - 1].seq >= all->v[i].seq);
	if (got.n > 0)
		assert_true(high > 0 &&
			    got.v[got.n - 1].seq <= all->v[high - 1].seq);
	if (got.n > 0)
		memcpy(all->v, got.v, got.n * sizeof(*got.v));
	all->n = got.n;
	vec_fini(&got);
}

static void cuts(void **state)
{
	const char *rounds = getenv("POWER_ROUNDS"),
		   *seed = getenv("POWER_SEED");
	struct store *s = help_create();
	struct recs all = { 0 };
	uint64_t from = 0;

	(void)state;
	power.seed = seed ? strtoull(seed, NULL, 0) : random_u64();
	print_message("POWER_SEED=%llu\n", (unsigned long long)power.seed);
	stream_file_max = 24 << 10;
	assert_int_equal(vec_reserve(&all, 1), 0);
	for (int i = rounds ? atoi(rounds) : 600; i > 0; i--) {
		struct life l = { 0 };
		size_t k, first;

		power_begin(help_url, "streams");
		mark(&l.from, from);
		mark(&l.appended, all.n);
		mark(&l.synced, all.n); /* that much is on the disk now */
		do {
			first = power.log.n;
			if (power_random(2))
				power.die_at = first + power_random(30);
			live(s, &l, &all, &from);
			power.die_at = SIZE_MAX;
		} while (power_random(2));
		/* every other cut is in the last takeover or soon after */
		k = power_random(power.log.n + 1);
		if (i % 2)
			k = MIN_OF(first + power_random(12), power.log.n);
		power.odds = (unsigned)power_random(9);
		power_cut(k);
		check(s, &l, &all, k, &from);
		vec_fini(&l.appended);
		vec_fini(&l.synced);
		vec_fini(&l.from);
		if (power_random(40) == 0) { /* begin anew */
			int r = stream_remove(s, &help_stream);

			assert_true(r == 0 || r == -ENOENT);
			from = 0;
			all.n = 0;
		}
	}
	vec_fini(&all);
	store_close(s);
}

/* Nothing is synced, so it may as well be in memory. */
static int begin(void **state)
{
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	return help_stream_begin(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cuts, begin, help_stream_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards streams against power loss, at any call and again while the next owner
 * takes over what the last cut left: what is replayed is a prefix of what was
 * appended and holds all that a sync returned for; nothing of it is taken for
 * damage; what a cut took does not come back.
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

static void live(struct store *s, struct life *l, struct recs *all)
{
	uint64_t from = value_at(&l->from, 0);
	struct recs got = { 0 };
	struct stream *st = help_take(s, from, &got);

	assert_true(help_same(&got, all, from));
	mark(&l->synced, all->n);
	for (unsigned n = (unsigned)power_random(30); n > 0; n--) {
		uint64_t dice = power_random(100);

		if (dice < 70) {
			mark(&l->appended, all->n + 1);
			assert_int_equal(
				help_append(
					st, (uint32_t)power_random(3000), all),
				0);
		} else if (dice < 72) {
			mark(&l->appended, all->n + 1);
			assert_int_equal(help_append(st, 1100000, all), 0);
		} else if (dice < 90) {
			assert_int_equal(stream_sync(st), 0);
			mark(&l->synced, all->n);
		} else {
			from = stream_next(st);
			mark(&l->from, from);
			if (dice < 96)
				assert_int_equal(stream_trim(st, from), 0);
		}
	}
	stream_close(st);
	vec_fini(&got);
}

/* Returns what is left of ALL. */
static void check(struct store *s, const struct life *l, struct recs *all,
	size_t k, uint64_t *from)
{
	size_t low = value_at(&l->synced, k), high = value_at(&l->appended, k);
	struct recs got = { 0 };

	*from = value_at(&l->from, k);
	assert_int_equal(help_peek(s, *from, &got), 0);
	assert_true(help_prefix(&got, all, *from));
	/* those before FROM are in the map */
	for (size_t i = 0; i < low; i++)
		if (all->v[i].seq >= *from)
			assert_true(got.n > 0 &&
				    got.v[got.n - 1].seq >= all->v[i].seq);
	if (got.n > 0)
		assert_true(got.v[got.n - 1].seq <= all->v[high - 1].seq);
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
	assert_int_equal(vec_reserve(&all, 1), 0);
	for (int i = rounds ? atoi(rounds) : 600; i > 0; i--) {
		struct life l = { 0 };
		size_t k;

		power_begin(help_url, "streams");
		mark(&l.from, from);
		mark(&l.appended, all.n);
		mark(&l.synced, all.n); /* that much is on the disk now */
		live(s, &l, &all);
		/* every other cut is in the takeover or soon after */
		k = power_random(power.log.n + 1);
		if (i % 2 && k > 12)
			k = power_random(12);
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is decoded ahead: for readers in order all of it, in time and never too
 * far; for the others nothing. The view is this test's own; they
 * only note what was asked for.
 */
#undef NDEBUG
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#undef fail /* log.h's is another */

#include "fs/prefetch.h"
#include "src/bytes.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define SIZE (256 * MIB + 12345)
#define UNIT (64 * KIB)

static _Atomic uint8_t fetched[SIZE / UNIT + 1];
static _Atomic uint64_t n_fetched, farthest;

void view_prefetch(struct view *v, uint64_t off, uint64_t len)
{
	assert_non_null(v);
	assert_true(len > 0 && off + len <= SIZE);
	for (uint64_t at = off; at < off + len; at += UNIT)
		atomic_store(&fetched[at / UNIT], 1);
	atomic_fetch_add(&n_fetched, len);
	if (off + len > atomic_load(&farthest))
		atomic_store(&farthest, off + len);
}

struct view *view_ref(struct view *v)
{
	atomic_fetch_add(&v->n_refs, 1);
	return v;
}

void view_put(struct view *v)
{
	if (atomic_fetch_sub(&v->n_refs, 1) == 1)
		free(v);
}

struct state {
	struct prefetch prefetch;
	struct reader reader;
	struct view *view;
};

static int set_up(void **state)
{
	static struct state s;

	s = (struct state){ 0 };
	s.view = calloc(1, sizeof(*s.view));
	s.view->layout.disk = SIZE;
	atomic_init(&s.view->n_refs, 1);
	assert_int_equal(prefetch_init(&s.prefetch, 256 * MIB, cpu_count()), 0);
	reader_init(&s.reader, &s.prefetch, s.view);
	for (size_t i = 0; i < N_ELEMS(fetched); i++)
		atomic_store(&fetched[i], 0);
	atomic_store(&n_fetched, 0);
	atomic_store(&farthest, 0);
	*state = &s;
	return 0;
}

/* Waits for the pool, whose every task holds the view; one that is far behind
 * would refuse some. */
static void settle(struct state *s)
{
	while (atomic_load(&s->view->n_refs) > 1)
		usleep(100);
}

static int tear_down(void **state)
{
	struct state *s = *state;

	reader_fini(&s->reader);
	prefetch_fini(&s->prefetch);
	assert_int_equal(atomic_load(&s->view->n_refs), 1);
	view_put(s->view);
	return 0;
}

/* All of [from, to) but for the beginning, which was read before it was known.
 */
static void check_fetched(uint64_t from, uint64_t to)
{
	for (uint64_t at = from; at < to; at += UNIT)
		assert_true(atomic_load(&fetched[at / UNIT]));
}

static void read_on(struct state *s, uint64_t from, uint64_t to, uint64_t step)
{
	for (uint64_t off = from; off < to; off += step) {
		reader_saw(&s->reader, off, MIN_OF(step, to - off));
		settle(s);
	}
}

static void in_order(void **state)
{
	struct state *s = *state;

	read_on(s, 0, 100 * MIB, 128 * KIB);
	check_fetched(MIB, 100 * MIB);
	assert_true(atomic_load(&farthest) >= 110 * MIB);
	assert_true(
		atomic_load(&farthest) <= 100 * MIB + AHEAD_MAX + AHEAD_STEP);
	/* and nothing twice */
	assert_true(atomic_load(&n_fetched) <= atomic_load(&farthest));
	read_on(s, 100 * MIB, SIZE, 128 * KIB);
	check_fetched(MIB, SIZE);
}

static void in_small_steps(void **state)
{
	read_on(*state, 7 * MIB + 512, 20 * MIB, 4 * KIB);
	check_fetched(9 * MIB, 25 * MIB);
}

/* As the kernel's read-ahead sends them: several at once, in any order. */
static void in_disorder(void **state)
{
	struct state *s = *state;

	for (uint64_t group = 0; group < 64 * MIB; group += MIB) {
		unsigned order[] = { 1, 3, 0, 2, 7, 5, 6, 4 };

		for (size_t i = 0; i < N_ELEMS(order); i++)
			reader_saw(&s->reader, group + order[i] * 128 * KIB,
				128 * KIB);
		settle(s);
	}
	check_fetched(3 * MIB, 70 * MIB);
}

static void several_streams(void **state)
{
	struct state *s = *state;

	for (uint64_t off = 0; off < 30 * MIB; off += 256 * KIB) {
		reader_saw(&s->reader, off, 256 * KIB);
		reader_saw(&s->reader, 70 * MIB + off, 256 * KIB);
		reader_saw(&s->reader, 140 * MIB + off, 256 * KIB);
		settle(s);
	}
	check_fetched(MIB, 30 * MIB);
	check_fetched(71 * MIB, 100 * MIB);
	check_fetched(141 * MIB, 170 * MIB);
}

static void in_no_order(void **state)
{
	struct state *s = *state;

	srandom(1);
	for (unsigned i = 0; i < 100000; i++)
		reader_saw(&s->reader, (uint64_t)random() % SIZE, 4 * KIB);
	for (uint64_t off = SIZE; off > 4 * MIB; off -= 4 * MIB)
		reader_saw(&s->reader, off, 128 * KIB);
	settle(s);
	/* a few neighbours met by chance */
	assert_true(atomic_load(&n_fetched) <= 4 * MIB);
}

static void *read_part(void *arg)
{
	struct reader *r = arg;

	for (uint64_t off = 0; off < SIZE; off += 128 * KIB)
		reader_saw(r, off, 128 * KIB);
	return NULL;
}

/* Many threads at once; TSan looks on. */
static void many_threads(void **state)
{
	struct state *s = *state;
	pthread_t threads[8];

	for (size_t i = 0; i < N_ELEMS(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_part,
					 &s->reader),
			0);
	for (size_t i = 0; i < N_ELEMS(threads); i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			in_small_steps, set_up, tear_down),
		cmocka_unit_test_setup_teardown(in_disorder, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			several_streams, set_up, tear_down),
		cmocka_unit_test_setup_teardown(in_no_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			many_threads, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

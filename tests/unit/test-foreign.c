/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards the small files of programs beside views under threads that make,
 * write, read, rename, list and remove the same few names at once: what a name
 * holds is what one of them wrote, whole; nothing is left over, and the bounds
 * hold. For the thread sanitizer as much as for what it asserts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "src/log.h" /* before cmocka.h, which has a macro fail() */

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/foreign.h"
#include "src/bytes.h"

#define THREADS 4
#define STEPS 3000
#define LEN 700u

static struct foreigns all;
static const char *const names[] = { "a.lck", "b.lck", "c" };

struct thread {
	pthread_t id;
	uint64_t seed;
};

static uint64_t rnd(struct thread *t, uint64_t below)
{
	t->seed = t->seed * 6364136223846793005u + 1442695040888963407u;
	return (t->seed >> 33) % below;
}

/* cmocka's asserts belong to its own thread. */
static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static const char *name(struct thread *t)
{
	return names[rnd(t, N_ELEMS(names))];
}

/* One write, so all of it or nothing is there. */
static void write_one(struct thread *t, struct foreign *f)
{
	uint8_t buf[LEN];

	memset(buf, (int)(1 + rnd(t, 200)), sizeof(buf));
	must(foreign_write(f, 0, sizeof(buf), buf) == 0, "write");
}

static void read_one(struct foreign *f)
{
	uint8_t buf[2 * LEN];
	size_t n = foreign_read(f, 0, sizeof(buf), buf);
	struct stat st = { 0 };

	must(n == 0 || n == LEN, "a file of half a write");
	for (size_t i = 1; i < n; i++)
		must(buf[i] == buf[0], "a file of two writes");
	foreign_stat(f, &st);
	must(st.st_size == 0 || st.st_size == LEN, "another size");
}

struct listing {
	struct foreign *files[N_ELEMS(names)];
	size_t n;
};

static int visit(void *arg, const char *text, struct foreign *f)
{
	struct listing *l = arg;

	must(l->n < N_ELEMS(names) && strlen(text) > 0, "more than there are");
	l->files[l->n++] = f;
	return 0;
}

static int list(void)
{
	struct foreign_dir dir = { 0 };
	struct listing l = { .n = 0 };
	int r = foreign_list(&all, &dir, visit, &l);

	for (size_t i = 0; i < l.n; i++) {
		read_one(l.files[i]);
		foreign_put(l.files[i]);
	}
	return r;
}

static void one(struct thread *t)
{
	struct foreign_dir dir = { 0 };
	struct foreign *f = NULL;
	int r = 0;

	switch (rnd(t, 5)) {
	case 0:
		r = foreign_make(&all, &dir, name(t), S_IFREG | 0600, &f);
		if (r == 0)
			write_one(t, f);
		break;
	case 1:
		r = foreign_find(&all, &dir, name(t), &f);
		if (r == 0)
			read_one(f);
		break;
	case 2:
		r = foreign_rename(&all, &dir, name(t), &dir, name(t), 0);
		break;
	case 3:
		r = foreign_remove(&all, &dir, name(t), false);
		break;
	default:
		r = list();
	}
	must(r == 0 || r == -ENOENT || r == -EEXIST, "an error");
	if (f)
		foreign_put(f);
}

static void *run(void *arg)
{
	for (unsigned i = 0; i < STEPS; i++)
		one(arg);
	return NULL;
}

static void beside_each_other(void **state)
{
	struct thread threads[THREADS];
	struct foreign_dir dir = { 0 };

	(void)state;
	foreigns_init(&all);
	for (unsigned i = 0; i < THREADS; i++) {
		threads[i].seed = i + 1;
		assert_int_equal(
			pthread_create(&threads[i].id, NULL, run, &threads[i]),
			0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i].id, NULL);
	for (size_t i = 0; i < N_ELEMS(names); i++) {
		int r = foreign_remove(&all, &dir, names[i], false);

		assert_true(r == 0 || r == -ENOENT);
	}
	assert_true(all.first == NULL);
	assert_int_equal(all.cost, 0);
	foreigns_fini(&all);
}

/* Of a file, and of all of them. */
static void bounds(void **state)
{
	static const uint8_t byte = 1;
	struct foreign_dir dir = { 0 };
	struct foreign *f;
	char text[8];
	int r = 0;

	(void)state;
	foreigns_init(&all);
	assert_int_equal(foreign_make(&all, &dir, "x", S_IFREG | 0600, &f), 0);
	assert_int_equal(foreign_write(f, FOREIGN_MAX - 1, 1, &byte), 0);
	assert_int_equal(foreign_write(f, FOREIGN_MAX, 1, &byte), -EFBIG);
	assert_int_equal(foreign_resize(f, FOREIGN_MAX + 1), -EFBIG);
	foreign_put(f);
	for (unsigned i = 0; r == 0 && i < 100; i++) {
		snprintf(text, sizeof(text), "%u", i);
		r = foreign_make(&all, &dir, text, S_IFREG | 0600, &f);
		if (r == 0) {
			r = foreign_resize(f, FOREIGN_MAX);
			foreign_put(f);
		}
	}
	assert_int_equal(r, -ENOSPC);
	assert_true(all.cost <= FOREIGN_TOTAL_MAX);
	/* and on again, once there is room */
	assert_int_equal(foreign_remove(&all, &dir, "x", false), 0);
	assert_int_equal(foreign_make(&all, &dir, "y", S_IFREG | 0600, &f), 0);
	assert_int_equal(foreign_resize(f, FOREIGN_MAX / 2), 0);
	foreign_put(f);
	foreigns_fini(&all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(beside_each_other),
		cmocka_unit_test(bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

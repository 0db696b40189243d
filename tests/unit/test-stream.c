/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards the contract of streams: records come back in order from any sequence
 * number on, in one piece, and a peek sees a prefix; one owner at a time, which
 * others find named; trimming gives space back while readers are at it. On the
 * embedded store, or where $HIVEFS_TEST_MONGODB names a server, there.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdatomic.h>

#include "stream_help.h"

/* ST was opened from sequence number FROM on. */
static void check_reads(struct stream *st, const struct recs *all,
	uint64_t from, unsigned n, uint64_t *seed)
{
	for (unsigned i = 0; i < n && all->n; i++) {
		const struct rec *r = &all->v[help_random(seed) % all->n];
		uint32_t off = (uint32_t)(help_random(seed) % (r->len + 1));
		uint32_t len =
			(uint32_t)(help_random(seed) % (r->len - off + 1));
		uint8_t *got, *want;

		if (r->seq < from)
			continue;
		got = malloc(len + 1);
		want = malloc(r->len + 1);
		MUST(got && want);
		help_bytes(r->seq, want, r->len);
		assert_int_equal(stream_read(st, r->place + off, got, len), 0);
		assert_memory_equal(got, want + off, len);
		free(got);
		free(want);
	}
}

static uint32_t random_len(uint64_t *seed)
{
	static const uint32_t sizes[] = { 1, 8, 200, 4096 + 16, 4096 + 16,
		4096 + 16, 65536, 65537, 300000 };
	uint32_t size = sizes[help_random(seed) % N_ELEMS(sizes)];

	return help_random(seed) % 3 ? size
				     : (uint32_t)(help_random(seed) % size);
}

static void what_is_appended_comes_back(void **state)
{
	struct store *s = help_create();
	struct recs all = { 0 }, got = { 0 };
	struct stream *st = help_take(s, 0, &got);
	uint64_t seed = 88172645463325252u, opened = 0;

	(void)state;
	assert_int_equal(got.n, 0);
	assert_int_equal(stream_next(st), UINT64_C(1) << 40);
	for (unsigned round = 0; round < 30; round++) {
		unsigned n = (unsigned)(help_random(&seed) % 20);
		uint64_t from = 0;

		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(
				help_append(st, random_len(&seed), &all), 0);
			if (help_random(&seed) % 4 == 0)
				assert_int_equal(stream_sync(st), 0);
		}
		check_reads(st, &all, opened, 10, &seed);
		assert_int_equal(stream_sync(st), 0);
		assert_int_equal(help_peek(s, 0, &got), 0);
		assert_true(help_same(&got, &all, 0));
		if (all.n)
			from = all.v[help_random(&seed) % all.n].seq;
		stream_close(st);
		assert_int_equal(help_peek(s, from, &got), 0);
		assert_true(help_same(&got, &all, from));
		st = help_take(s, from, &got);
		assert_true(help_same(&got, &all, from));
		assert_int_equal(stream_next(st) & STREAM_NUMBER_MAX, 0);
		assert_int_equal(stream_epoch(stream_next(st)), round + 2);
		opened = from;
		check_reads(st, &all, opened, 10, &seed);
	}
	assert_int_equal(help_append(st, STREAM_PAYLOAD_MAX, &all), 0);
	assert_int_equal(help_append(st, 0, &all), 0);
	assert_true(stream_bytes(st) >= (uint64_t)STREAM_PAYLOAD_MAX);
	stream_close(st);
	st = help_take(s, all.v[all.n - 2].seq, &got);
	assert_int_equal(got.n, 2);
	assert_true(help_same(&got, &all, all.v[all.n - 2].seq));
	stream_close(st);
	vec_fini(&all);
	vec_fini(&got);
	store_close(s);
}

static int stop(
	void *arg, uint64_t seq, uint64_t place, const uint8_t *p, uint32_t len)
{
	(void)seq;
	(void)place;
	(void)p;
	(void)len;
	return ++*(int *)arg == 3 ? 7 : 0;
}

static void what_there_is_not(void **state)
{
	struct store *s = help_create();
	struct recs got = { 0 }, all = { 0 };
	struct stream_owner o;
	struct stream *st;
	int n = 0;

	(void)state;
	assert_int_equal(stream_remove(s, &help_stream), -ENOENT);
	assert_int_equal(stream_owner(s, &help_stream, &o), -ENOENT);
	assert_int_equal(help_peek(s, 0, &got), 0);
	assert_int_equal(got.n, 0);
	assert_true(help_server() || access(help_path("streams"), F_OK) == -1);
	assert_string_equal(help_said, "");
	assert_int_equal(help_peek(s, 5, &got), -EBADMSG);
	assert_int_equal(stream_open(s, &help_stream, 5, &help_me, help_visit,
				 &got, &st),
		-EBADMSG);
	assert_true(said("is missing"));
	/* a visit that ends it */
	st = help_take(s, 0, &got);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(help_append(st, 100, &all), 0);
	stream_close(st);
	assert_int_equal(
		stream_open(s, &help_stream, 0, &help_me, stop, &n, &st), 7);
	n = 0;
	assert_int_equal(stream_peek(s, &help_stream, 0, stop, &n, &st), 7);
	/* records of an epoch that never was */
	assert_int_equal(help_peek(s, UINT64_C(9) << STREAM_NUMBER_BITS, &got),
		-EBADMSG);
	st = help_take(s, 0, &got);
	assert_true(help_same(&got, &all, 0));
	stream_close(st);
	vec_fini(&all);
	vec_fini(&got);
	store_close(s);
	s = help_open(STORE_READ_ONLY);
	assert_int_equal(stream_open(s, &help_stream, 0, &help_me, help_visit,
				 &got, &st),
		-EROFS);
	assert_int_equal(stream_remove(s, &help_stream), -EROFS);
	store_close(s);
}

/* A process that has the stream until it is killed. */
static pid_t other_owner(void)
{
	int ready[2];
	char b;
	pid_t pid;

	MUST(pipe(ready) == 0);
	pid = fork();
	MUST(pid >= 0);
	if (pid == 0) {
		struct stream_owner me = { .host = "elsewhere",
			.pid = getpid(),
			.place = "/mnt/theirs" };
		struct store *s = help_open(0);
		struct recs got = { 0 };
		struct stream *st;

		MUST(stream_open(s, &help_stream, 0, &me, help_visit, &got,
			     &st) == 0);
		MUST(write(ready[1], "", 1) == 1);
		for (;;)
			pause();
	}
	MUST(read(ready[0], &b, 1) == 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void one_owner_at_a_time(void **state)
{
	pid_t pid = (store_close(help_create()), other_owner());
	struct store *s = help_open(0);
	struct recs got = { 0 };
	struct stream_owner o;
	struct stream *st;
	char text[64];
	int status;

	(void)state;
	snprintf(text, sizeof(text), "elsewhere, process %d, /mnt/theirs", pid);
	for (unsigned stopped = 0; stopped < 2; stopped++) {
		help_said[0] = '\0';
		assert_int_equal(stream_open(s, &help_stream, 0, &help_me,
					 help_visit, &got, &st),
			-EBUSY);
		assert_true(said(text));
		help_said[0] = '\0';
		assert_int_equal(stream_remove(s, &help_stream), -EBUSY);
		assert_true(said(text));
		assert_int_equal(stream_owner(s, &help_stream, &o), 0);
		assert_string_equal(o.host, "elsewhere");
		assert_int_equal(o.pid, pid);
		assert_string_equal(o.place, "/mnt/theirs");
		assert_int_equal(help_peek(s, 0, &got), 0);
		if (stopped)
			break;
		assert_int_equal(kill(pid, SIGSTOP), 0);
		assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(stream_owner(s, &help_stream, &o), -ENOENT);
	st = help_take(s, 0, &got);
	assert_int_equal(stream_owner(s, &help_stream, &o), 0);
	assert_string_equal(o.place, help_me.place);
	/* in one process, too */
	assert_int_equal(stream_open(s, &help_stream, 0, &help_me, help_visit,
				 &got, &st),
		-EBUSY);
	assert_true(said("here, process 4711"));
	stream_close(st);
	assert_int_equal(stream_owner(s, &help_stream, &o), -ENOENT);
	assert_int_equal(stream_remove(s, &help_stream), 0);
	assert_true(help_server() || access(help_stream_path(""), F_OK) == -1);
	assert_int_equal(stream_remove(s, &help_stream), -ENOENT);
	vec_fini(&got);
	store_close(s);
}

static bool has_file(unsigned number)
{
	char name[STREAM_FILE_NAME];

	return access(help_stream_path(stream_file_name(number, name)), F_OK) ==
	       0;
}

/* Its pieces are files, or documents of which nobody sees how many. */
static bool gone(unsigned number)
{
	return help_server() || !has_file(number);
}

static void trimming_gives_space_back(void **state)
{
	struct store *s = help_create();
	struct recs all = { 0 }, got = { 0 };
	struct stream *st = help_take(s, 0, &got);
	struct store_info before, after;
	uint64_t bytes, seq;
	uint8_t b[64];

	(void)state;
	while (help_server() ? stream_bytes(st) < UINT64_C(190) << 20
			     : !has_file(4))
		assert_int_equal(help_append(st, 2000000, &all), 0);
	assert_int_equal(stream_sync(st), 0);
	assert_int_equal(store_info(s, &before), 0);
	bytes = stream_bytes(st);
	assert_true(bytes > UINT64_C(180) << 20 && bytes < 210 << 20);
	assert_true(before.bytes > bytes);
	seq = all.v[all.n / 2].seq; /* in the second or third file */
	assert_int_equal(stream_read(st, all.v[0].place, b, sizeof(b)), 0);
	assert_int_equal(stream_trim(st, seq), 0);
	assert_true(gone(1));
	assert_true(help_server() || has_file(3));
	assert_true(stream_bytes(st) < bytes - (60 << 20));
	assert_int_equal(store_info(s, &after), 0);
	if (!help_server()) /* a server keeps it for what comes next */
		assert_true(after.bytes < before.bytes - (60 << 20));
	help_said[0] = '\0';
	assert_int_equal(
		stream_read(st, all.v[0].place, b, sizeof(b)), -ENOENT);
	assert_int_equal(
		stream_read(st, all.v[all.n - 1].place, b, sizeof(b)), 0);
	assert_int_equal(help_peek(s, seq, &got), 0);
	assert_true(help_same(&got, &all, seq));
	/* who comes with what was true before */
	assert_int_equal(help_peek(s, 0, &got), -ESTALE);
	stream_close(st);
	assert_int_equal(stream_open(s, &help_stream, all.v[0].seq, &help_me,
				 help_visit, &got, &st),
		-ESTALE);
	assert_string_equal(help_said, "");
	st = help_take(s, seq, &got);
	assert_true(help_same(&got, &all, seq));
	/* all of it: the last file goes, too, since it is large */
	assert_int_equal(help_append(st, 2000000, &all), 0);
	assert_int_equal(stream_sync(st), 0);
	assert_int_equal(stream_trim(st, stream_next(st)), 0);
	assert_true(stream_bytes(st) <= STREAM_FILE_HEADER);
	assert_true(gone(4));
	assert_true(help_server() || has_file(5));
	/* but not for little */
	assert_int_equal(help_append(st, 5000, &all), 0);
	seq = stream_next(st);
	assert_int_equal(stream_trim(st, seq), 0);
	assert_true(help_server() || (has_file(5) && !has_file(6)));
	assert_int_equal(help_append(st, 4096, &all), 0);
	stream_close(st);
	st = help_take(s, seq, &got);
	assert_int_equal(got.n, 1);
	assert_true(help_same(&got, &all, seq));
	stream_close(st);
	vec_fini(&all);
	vec_fini(&got);
	store_close(s);
}

/* Threads beside an appender. */
struct beside {
	struct store *s;
	struct stream *st;
	const struct rec *v;
	_Atomic size_t n; /* of them are there */
	_Atomic size_t trimmed;
	_Atomic bool done;
	_Atomic uint64_t synced;
};

static void *read_beside(void *arg)
{
	struct beside *b = arg;
	uint64_t seed = 7777777;
	uint8_t *buf = malloc(STREAM_PAYLOAD_MAX);

	MUST(buf);
	while (!b->done) {
		size_t low = b->trimmed, n = b->n;
		const struct rec *r;
		int err;

		if (n == low)
			continue;
		r = &b->v[low + help_random(&seed) % (n - low)];
		err = stream_read(b->st, r->place, buf, r->len);
		/* only what was trimmed meanwhile */
		MUST(err == 0 || (err == -ENOENT && r < b->v + b->trimmed));
		MUST(err < 0 || help_are_bytes(r->seq, buf, r->len));
	}
	free(buf);
	return NULL;
}

static void *sync_beside(void *arg)
{
	struct beside *b = arg;

	while (!b->done) {
		uint64_t next = stream_next(b->st);

		MUST(stream_sync(b->st) == 0);
		if (next > b->synced)
			b->synced = next;
	}
	return NULL;
}

static void *peek_beside(void *arg)
{
	struct beside *b = arg;
	struct recs got = { 0 };

	while (!b->done) {
		size_t low = b->trimmed, n = b->n;
		uint64_t from = n > low ? b->v[low].seq : 0;
		int err = help_peek(b->s, from, &got);

		if (n == 0)
			continue;
		/* trimmed, or a file was, while we looked */
		MUST(err == 0 || (err == -ESTALE && low < b->trimmed));
		MUST(err < 0 || got.n >= n - low);
		for (size_t i = 0; err == 0 && i < MIN_OF(got.n, n - low); i++)
			MUST(got.v[i].place == b->v[low + i].place);
	}
	vec_fini(&got);
	return NULL;
}

static void everything_at_once(void **state)
{
	struct store *s = help_create();
	struct recs got = { 0 }, all = { 0 };
	struct beside b = { .s = s, .st = help_take(s, 0, &got) };
	void *(*const run[])(void *) = { read_beside, read_beside, sync_beside,
		sync_beside, peek_beside };
	pthread_t threads[N_ELEMS(run)];
	uint64_t seed = 99;

	(void)state;
	assert_int_equal(vec_reserve(&all, 4000), 0); /* it stays where it is */
	b.v = all.v;
	for (unsigned i = 0; i < N_ELEMS(run); i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, run[i], &b), 0);
	for (unsigned i = 0; i < 1500; i++) {
		assert_int_equal(
			help_append(b.st, random_len(&seed) * 2, &all), 0);
		/* on a server others see it when it is synced */
		if (help_server())
			assert_int_equal(stream_sync(b.st), 0);
		b.n = all.n;
		if (i % 50 == 49) {
			b.trimmed = all.n - 25;
			assert_int_equal(
				stream_trim(b.st, all.v[b.trimmed].seq), 0);
		}
	}
	b.done = true;
	for (unsigned i = 0; i < N_ELEMS(run); i++)
		pthread_join(threads[i], NULL);
	assert_true(help_server() || (has_file(2) && !has_file(1)));
	stream_close(b.st);
	assert_int_equal(help_peek(s, all.v[b.trimmed].seq, &got), 0);
	assert_true(help_same(&got, &all, all.v[b.trimmed].seq));
	vec_fini(&all);
	vec_fini(&got);
	store_close(s);
}

int main(void)
{
#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, help_stream_begin, help_stream_end)
	const struct CMUnitTest tests[] = {
		TEST(what_is_appended_comes_back),
		TEST(what_there_is_not),
		TEST(one_owner_at_a_time),
		TEST(trimming_gives_space_back),
		TEST(everything_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

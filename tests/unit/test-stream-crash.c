/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards streams of the embedded store against processes that end: killed
 * anywhere, all that was appended is there, in order; a takeover, roll or trim
 * that dies at any system call leaves a stream that the next owner handles; a
 * record that was refused is not there, however much of it was written; after
 * a failed sync nothing is taken for safe any more.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "stream_help.h"

/* What calls of the library do instead, in this process. */
static struct {
	unsigned kill_at;    /* the n-th call that changes something; 0: none */
	unsigned n_calls;    /* so far */
	ssize_t write_limit; /* of the next pwritev, then ENOSPC; -1: none */
	bool no_truncate;    /* as if power loss undid it */
	int sync_error;
	int dir_error; /* of a directory's sync */
} rig = { .write_limit = -1 };

static void step(void)
{
	if (++rig.n_calls == rig.kill_at)
		kill(getpid(), SIGKILL);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	step();
	if (rig.write_limit >= 0) {
		size_t left = (size_t)rig.write_limit;
		ssize_t done = 0;

		for (int i = 0; i < n && left > 0; i++) {
			size_t len = MIN_OF(iov[i].iov_len, left);

			MUST(pwrite(fd, iov[i].iov_base, len, off + done) ==
				(ssize_t)len);
			done += (ssize_t)len;
			left -= len;
		}
		rig.write_limit = 0;
		errno = ENOSPC;
		return done ? done : -1;
	}
	return syscall(SYS_pwritev, fd, iov, n, off, 0);
}

int ftruncate(int fd, off_t len)
{
	step();
	return rig.no_truncate ? 0 : (int)syscall(SYS_ftruncate, fd, len);
}

int fdatasync(int fd)
{
	step();
	errno = rig.sync_error;
	return rig.sync_error ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
	struct stat st;

	step();
	if (rig.dir_error && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		errno = rig.dir_error;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

int renameat(int from, const char *a, int to, const char *b)
{
	step();
	return (int)syscall(SYS_renameat, from, a, to, b);
}

int unlinkat(int fd, const char *name, int flags)
{
	step();
	return (int)syscall(SYS_unlinkat, fd, name, flags);
}

int mkdirat(int fd, const char *name, mode_t mode)
{
	step();
	return (int)syscall(SYS_mkdirat, fd, name, mode);
}

/* What a child did, in memory that outlives it. */
struct shared {
	_Atomic size_t n, synced;
	_Atomic bool begun;
	struct rec v[4000];
};

static struct shared *share(void)
{
	struct shared *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	MUST(sh != MAP_FAILED);
	return sh;
}

/* Appends as it likes; forever if N is 0. */
static void child_writes(
	struct shared *sh, struct stream *st, unsigned n, uint64_t seed)
{
	struct recs mine = { 0 };

	for (unsigned i = 0; n == 0 || i < n; i++) {
		uint32_t len = (uint32_t)(help_random(&seed) % 9000);

		if (sh->n == N_ELEMS(sh->v))
			pause();
		MUST(help_append(st, len, &mine) == 0);
		sh->v[sh->n] = mine.v[mine.n - 1];
		sh->n++;
		if (help_random(&seed) % 4)
			continue;
		MUST(stream_sync(st) == 0);
		sh->synced = sh->n;
	}
	vec_fini(&mine);
}

/* What is there is what SH says, or one more, whose append did not return. */
static void check_shared(struct store *s, struct shared *sh)
{
	struct recs got = { 0 }, all = { .v = sh->v, .n = sh->n };

	assert_int_equal(help_peek(s, 0, &got), 0);
	assert_true(got.n >= all.n && got.n >= sh->synced);
	assert_true(got.n <= all.n + 1);
	if (got.n > all.n) {
		sh->v[all.n] = got.v[all.n];
		sh->n++;
		got.n--;
	}
	assert_true(help_same(&got, &all, 0));
	vec_fini(&got);
}

static void killed_at_any_moment(void **state)
{
	struct store *s = help_create();
	struct shared *sh = share();
	uint64_t seed = 0x1234567;

	(void)state;
	for (unsigned round = 0; round < 40; round++) {
		pid_t pid = fork();
		int status;

		assert_true(pid >= 0);
		if (pid == 0) {
			struct recs got = { 0 };
			struct stream *st;

			sh->begun = round % 4 == 0; /* taking over */
			st = help_take(s, 0, &got);
			sh->begun = true;
			child_writes(sh, st, 0, round + 1);
		}
		while (!sh->begun)
			usleep(100);
		sh->begun = false;
		usleep((useconds_t)(help_random(&seed) % 20000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		check_shared(s, sh);
		if (round % 3 == 0) {
			struct recs got = { 0 };

			stream_close(help_take(s, 0, &got));
			assert_int_equal(got.n, sh->n);
			vec_fini(&got);
		}
	}
	assert_true(sh->n > 100);
	munmap(sh, sizeof(*sh));
	store_close(s);
}

/* A life of a stream that begins at FROM and makes use of everything. */
static void live(struct store *s, struct shared *sh, uint64_t *from)
{
	struct recs got = { 0 };
	struct stream *st;

	rig.n_calls = 0;
	st = help_take(s, *from, &got);
	vec_fini(&got);
	child_writes(sh, st, 5, sh->n + 1);
	for (unsigned i = 0; i < 2; i++) {
		struct recs big = { 0 };

		MUST(help_append(st, 600000, &big) == 0);
		sh->v[sh->n] = big.v[0];
		sh->n++;
		vec_fini(&big);
	}
	*from = stream_next(st);
	sh->n = 0;
	MUST(stream_trim(st, *from) == 0);
	child_writes(sh, st, 3, sh->n + 7);
	stream_close(st);
}

static void killed_at_every_call(void **state)
{
	struct store *s = help_create();
	struct shared *sh = share();
	uint64_t *from = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned k = 0;
	bool done = false;

	(void)state;
	while (!done) {
		pid_t pid = fork();
		struct recs got = { 0 };
		int status;

		assert_true(pid >= 0);
		k++;
		if (pid == 0) {
			rig.kill_at = k;
			live(s, sh, from);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		done = WIFEXITED(status) && WEXITSTATUS(status) == 0;
		assert_true(done || WIFSIGNALED(status));
		assert_true(done || WTERMSIG(status) == SIGKILL);
		assert_int_equal(help_peek(s, *from, &got), 0);
		/* killed between an append and the next line */
		assert_true(got.n == sh->n || got.n == sh->n + 1);
		for (size_t i = 0; i < sh->n; i++)
			assert_int_equal(got.v[i].place, sh->v[i].place);
		if (got.n > sh->n)
			sh->v[sh->n] = got.v[sh->n];
		sh->n = got.n;
		if (k % 5 == 0) {
			int r = stream_remove(s, &help_stream);

			assert_true(r == 0 || r == -ENOENT);
			assert_int_equal(
				access(help_stream_path(""), F_OK), -1);
			*from = 0;
			sh->n = 0;
		}
		vec_fini(&got);
	}
	assert_true(k > 20);
	munmap(sh, sizeof(*sh));
	munmap(from, 4096);
	store_close(s);
}

static void killed_while_removing(void **state)
{
	struct store *s = help_create();
	unsigned k = 0;
	bool done = false;

	(void)state;
	while (!done) {
		struct recs got = { 0 };
		pid_t pid;
		int r, status;

		stream_close(help_take(s, 0, &got));
		pid = fork();
		assert_true(pid >= 0);
		k++;
		if (pid == 0) {
			rig.n_calls = 0;
			rig.kill_at = k;
			_exit(stream_remove(s, &help_stream) != 0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		done = WIFEXITED(status) && WEXITSTATUS(status) == 0;
		r = stream_remove(s, &help_stream);
		assert_true(r == 0 || r == -ENOENT);
		assert_int_equal(access(help_stream_path(""), F_OK), -1);
		vec_fini(&got);
	}
	assert_true(k > 4);
	store_close(s);
}

/* However much of a record is written before there is no more space. */
static void refused_records(void **state)
{
	struct store *s = help_create();
	struct recs all = { 0 }, got = { 0 };
	struct stream *st = help_take(s, 0, &got);

	(void)state;
	for (unsigned cut = 0; cut < 2; cut++)
		for (ssize_t n = 0; n < 300 + STREAM_RECORD_HEADER + 4; n++) {
			uint64_t bytes = stream_bytes(st);

			/* its last bytes are padding */
			help_said[0] = '\0';
			rig.write_limit = n;
			rig.no_truncate = cut;
			assert_int_equal(help_append(st, 300, &all), -ENOSPC);
			rig.write_limit = -1;
			assert_string_equal(help_said, "");
			assert_int_equal(stream_bytes(st), bytes);
			if (!cut) {
				assert_int_equal(help_peek(s, 0, &got), 0);
				assert_true(help_same(&got, &all, 0));
			}
			/* what it left shows behind a shorter one */
			assert_int_equal(
				help_append(st, (uint32_t)(n % 200), &all), 0);
			rig.no_truncate = false;
			assert_int_equal(help_peek(s, 0, &got), 0);
			assert_true(help_same(&got, &all, 0));
		}
	stream_close(st);
	st = help_take(s, 0, &got);
	assert_true(help_same(&got, &all, 0));
	stream_close(st);
	vec_fini(&all);
	vec_fini(&got);
	store_close(s);
}

static void a_failed_sync(void **state)
{
	struct store *s = help_create();
	struct recs all = { 0 }, got = { 0 };
	struct stream *st = help_take(s, 0, &got);
	uint8_t b[8];

	(void)state;
	assert_int_equal(help_append(st, 3000, &all), 0);
	assert_int_equal(stream_sync(st), 0);
	assert_int_equal(help_append(st, 5000, &all), 0);
	rig.sync_error = EIO;
	assert_int_equal(stream_sync(st), -EIO);
	rig.sync_error = 0;
	assert_true(said("Input/output error"));
	help_said[0] = '\0';
	assert_int_equal(stream_sync(st), -EIO);
	assert_int_equal(help_append(st, 5000, &all), -EIO);
	assert_int_equal(stream_trim(st, stream_next(st)), 0);
	assert_string_equal(help_said, "");
	assert_int_equal(stream_read(st, all.v[1].place, b, 8), 0);
	stream_close(st);
	st = help_take(s, 0, &got);
	assert_true(got.n >= 1 && help_prefix(&got, &all, 0));
	all.n = got.n;
	/* in a roll */
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(help_append(st, 1 << 20, &all), 0);
	rig.sync_error = ENOSPC;
	assert_int_equal(stream_trim(st, stream_next(st)), -EIO);
	rig.sync_error = 0;
	assert_int_equal(help_append(st, 5000, &all), -EIO);
	stream_close(st);
	/* the new file is there: going on in the old one would be damage */
	st = help_take(s, 0, &got);
	rig.dir_error = EIO;
	assert_int_equal(stream_trim(st, stream_next(st)), -EIO);
	rig.dir_error = 0;
	assert_true(help_size("00000002.str") > 0);
	assert_int_equal(help_append(st, 5000, &all), -EIO);
	stream_close(st);
	/* in a takeover */
	rig.sync_error = EIO;
	assert_int_equal(stream_open(s, &help_stream, 0, &help_me, help_visit,
				 &got, &st),
		-EIO);
	rig.sync_error = 0;
	st = help_take(s, 0, &got);
	assert_true(help_same(&got, &all, 0));
	stream_close(st);
	vec_fini(&all);
	vec_fini(&got);
	store_close(s);
}

static void fill(off_t leave)
{
	int fd = open(help_path("filler"), O_WRONLY | O_CREAT, 0600);
	static uint8_t b[1 << 16];
	off_t len = 0;
	ssize_t n;

	assert_true(fd >= 0);
	while ((n = write(fd, b, sizeof(b))) > 0)
		len += n;
	assert_int_equal(truncate(help_path("filler"), len - leave), 0);
	close(fd);
}

static void run_full(void)
{
	struct store *s = help_create();
	struct recs all = { 0 }, got = { 0 };
	struct stream *st = help_take(s, 0, &got);
	unsigned full = 0;

	help_said[0] = '\0';
	for (unsigned i = 0; i < 24; i++) {
		int r;

		fill((off_t)(i * i) << 14);
		while ((r = help_append(st, 100000 + i * 1117, &all)) == 0)
			;
		assert_int_equal(r, -ENOSPC);
		while (help_append(st, 500, &all) == 0)
			full++;
		assert_int_equal(stream_sync(st), 0);
		assert_int_equal(help_peek(s, 0, &got), 0);
		assert_true(help_same(&got, &all, 0));
		assert_string_equal(help_said, "");
		assert_int_equal(unlink(help_path("filler")), 0);
		assert_int_equal(help_append(st, 100000, &all), 0);
		if (i % 4 == 3) {
			stream_close(st);
			fill(0);
			r = stream_open(s, &help_stream, 0, &help_me,
				help_visit, (got.n = 0, &got), &st);
			assert_true(r == 0 || (r == -ENOSPC && said("space")));
			if (r == 0)
				stream_close(st);
			assert_int_equal(unlink(help_path("filler")), 0);
			help_said[0] = '\0';
			st = help_take(s, 0, &got);
			assert_true(help_same(&got, &all, 0));
		}
	}
	assert_true(full > 100);
	while (help_append(st, 1 << 20, &all) == 0) /* into the next file */
		;
	assert_true(help_size("00000002.str") > 0);
	assert_int_equal(stream_trim(st, stream_next(st)), 0);
	assert_true(help_size("00000001.str") < 0);
	assert_int_equal(help_append(st, 1 << 20, &all), 0);
	stream_close(st);
	store_close(s);
}

static void run_read_only(void)
{
	struct store *s = help_create();
	struct recs all = { 0 }, got = { 0 };
	struct stream_owner o;
	struct stream *st = help_take(s, 0, &got);
	uint8_t b[8];

	assert_int_equal(help_append(st, 3000, &all), 0);
	stream_close(st);
	store_close(s);
	assert_int_equal(
		mount("", help_url, "", MS_REMOUNT | MS_RDONLY, NULL), 0);
	s = help_open(STORE_READ_ONLY);
	help_said[0] = '\0';
	assert_int_equal(
		stream_peek(s, &help_stream, 0, help_visit, &got, &st), 0);
	assert_true(help_same(&got, &all, 0));
	assert_int_equal(stream_read(st, all.v[0].place, b, 8), 0);
	stream_close(st);
	assert_int_equal(stream_owner(s, &help_stream, &o), -ENOENT);
	assert_string_equal(help_said, "");
	store_close(s);
}

/* On a file system of its own, if we may make one. */
static void on_small_fs(void (*run)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		if (mkdir(help_url, 0700) != 0 || unshare(CLONE_NEWNS) != 0 ||
			mount("", "/", "", MS_PRIVATE | MS_REC, NULL) != 0 ||
			mount("none", help_url, "tmpfs", 0, "size=79m") != 0)
			_exit(77);
		run();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_full_file_system(void **state)
{
	(void)state;
	on_small_fs(run_full);
}

static void a_read_only_file_system(void **state)
{
	(void)state;
	on_small_fs(run_read_only);
}

int main(void)
{
#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, help_stream_begin, help_stream_end)
	const struct CMUnitTest tests[] = {
		TEST(killed_at_any_moment),
		TEST(killed_at_every_call),
		TEST(killed_while_removing),
		TEST(refused_records),
		TEST(a_failed_sync),
		TEST(a_full_file_system),
		TEST(a_read_only_file_system),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small things that everything stands on: bytes, vec, text, digest, uuid,
 * log and pool.
 */
#undef NDEBUG
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#undef fail /* log.h's is another */

#include "src/bytes.h"
#include "src/digest.h"
#include "src/log.h"
#include "src/pool.h"
#include "src/process.h"
#include "src/text.h"
#include "src/uuid.h"
#include "src/vec.h"

static void bytes(void **state)
{
	unsigned char b[9] = { 0 };

	(void)state;
	put_le32(b + 1, 0x01020304);
	assert_memory_equal(b, "\0\4\3\2\1\0", 6);
	assert_int_equal(get_be32(b + 1), 0x04030201);
	put_be64(b + 1, 0x0102030405060708);
	assert_int_equal(get_be64(b + 1), 0x0102030405060708);
	assert_int_equal(get_le16(b + 1), 0x0201);
	assert_int_equal(round_up(4097, 4096), 8192);
	assert_int_equal(round_up(4096, 4096), 4096);
	assert_int_equal(round_up(7, 3), 9);
	assert_int_equal(round_down(8, 3), 6);
	assert_true(is_zero("\0\0\0\1", 3));
	assert_false(is_zero("\0\0\0\1", 4));
	assert_true(is_zero("x", 0));
}

static void vec_grows(void **state)
{
	struct vec(uint64_t) v = { 0 };

	(void)state;
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(vec_add(&v, i * i), 0);
	assert_int_equal(v.n, 1000);
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(v.v[i], i * i);
	assert_int_equal(vec_reserve(&v, 5000), 0);
	assert_true(v.cap >= 6000);
	vec_fini(&v);
	assert_null(v.v);
	assert_int_equal(v.n, 0);
}

static void sizes(void **state)
{
	static const struct {
		uint64_t n;
		const char *text;
	} texts[] = { { 0, "0 B" }, { 1023, "1023 B" }, { 1024, "1.00 KiB" },
		{ 1536, "1.50 KiB" }, { 10 << 20, "10.0 MiB" },
		{ 100ULL << 30, "100 GiB" }, { 1ULL << 40, "1.00 TiB" },
		{ UINT64_MAX, "16.0 EiB" } };
	static const struct {
		const char *text;
		uint64_t n;
	} good[] = { { "512", 512 }, { "64K", 65536 }, { "64k", 65536 },
		{ "1.5GiB", 3ULL << 29 }, { "2T", 2ULL << 40 }, { "7B", 7 },
		{ "3MB", 3 << 20 } };
	static const char *const bad[] = { "", "x", "-1", "1.3", "1X", "1KK",
		"16E", "1 K", "nan", "inf", "K", "1e999" };
	char buf[16];
	uint64_t n;

	(void)state;
	for (size_t i = 0; i < N_ELEMS(texts); i++)
		assert_string_equal(size_text(texts[i].n, buf), texts[i].text);
	for (size_t i = 0; i < N_ELEMS(good); i++) {
		assert_int_equal(size_parse(good[i].text, &n), 0);
		assert_int_equal(n, good[i].n);
	}
	for (size_t i = 0; i < N_ELEMS(bad); i++) {
		n = 42;
		assert_int_equal(size_parse(bad[i], &n), -EINVAL);
		assert_int_equal(n, 42);
	}
}

static void times(void **state)
{
	static const int64_t seconds[] = { 0, 951782400 /* 29 February */,
		1795509765, 4102444799 };
	static const char *const bad[] = { "", "2026", "2026-11-20",
		"2026-02-30T00:00:00Z", "2026-11-20T24:00:00Z",
		"2026-13-01T00:00:00Z", "2026-11-20T08:42:45",
		"2026-11-20 08:42:45Z" };
	const char *end;
	char buf[32];
	int64_t t;

	(void)state;
	assert_string_equal(time_text(0, buf), "1970-01-01T00:00:00Z");
	assert_string_equal(time_name(0, buf), "1970-01-01T000000Z");
	for (size_t i = 0; i < N_ELEMS(seconds); i++) {
		assert_int_equal(
			time_parse(time_text(seconds[i], buf), &t, &end), 0);
		assert_int_equal(t, seconds[i]);
		assert_string_equal(end, "");
		time_name(seconds[i], buf);
		strcat(buf, "-3fa9");
		assert_int_equal(time_parse(buf, &t, &end), 0);
		assert_int_equal(t, seconds[i]);
		assert_string_equal(end, "-3fa9");
	}
	for (size_t i = 0; i < N_ELEMS(bad); i++)
		assert_int_equal(time_parse(bad[i], &t, &end), -EINVAL);
}

static void names(void **state)
{
	char name[130];

	(void)state;
	memset(name, 'a', sizeof(name));
	name[129] = 0;
	assert_false(name_ok(name));
	name[128] = 0;
	assert_true(name_ok(name));
	assert_true(name_ok("web-1.example_com"));
	assert_true(name_ok("9"));
	assert_false(name_ok(""));
	assert_false(name_ok("."));
	assert_false(name_ok(".."));
	assert_false(name_ok("-r"));
	assert_false(name_ok("a/b"));
	assert_false(name_ok("a b"));
	assert_false(name_ok("h\xc3\xa9"));
}

/* FIPS 180-2 and the empty message */
static void digests(void **state)
{
	static const struct {
		const char *text, *hex;
	} known[] = { { "", "e3b0c44298fc1c149afbf4c8996fb924"
			    "27ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223"
			 "b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
			"248d6a61d20638b8e5c026930c3e6039"
			"a33ce45964ff2167f6ecedd419db06c1" } };
	static const struct digest none;
	struct digest d = none;
	char hex[DIGEST_HEX];

	(void)state;
	assert_true(digest_is_none(&d));
	for (size_t i = 0; i < N_ELEMS(known); i++) {
		d = digest_of(known[i].text, strlen(known[i].text));
		assert_string_equal(digest_hex(&d, hex), known[i].hex);
		assert_false(digest_is_none(&d));
		assert_true(digest_eq(&d, &d));
		assert_false(digest_eq(&d, &none));
	}
}

static int digest_in_threads(void *arg, uint64_t i, unsigned thread)
{
	const struct digest *expected = arg;
	struct digest d = digest_of("abc", 3);

	(void)i;
	(void)thread;
	return digest_eq(&d, expected) ? 0 : -EBADMSG;
}

static void digests_in_threads(void **state)
{
	struct digest d = digest_of("abc", 3);

	(void)state;
	assert_int_equal(parallel_for(4, 400, digest_in_threads, &d), 0);
}

static void uuids(void **state)
{
	struct uuid u = uuid_random();
	struct uuid v = uuid_random();
	char text[UUID_TEXT];

	(void)state;
	assert_memory_not_equal(&u, &v, sizeof(u));
	uuid_text(&u, text);
	assert_int_equal(strlen(text), 36);
	assert_int_equal(text[14], '4');
	assert_non_null(strchr("89ab", text[19]));
	assert_true(text[8] == '-' && text[23] == '-');
	assert_int_not_equal(random_u64(), 0);
}

static void processes(void **state)
{
	char us[PROCESS_TEXT], child[PROCESS_TEXT] = "";
	int fds[2];
	char *start;
	pid_t pid;

	(void)state;
	process_text(us);
	assert_int_equal(process_state(us), PROCESS_ALIVE);
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		process_text(child);
		_exit(write(fds[1], child, sizeof(child)) != sizeof(child));
	}
	assert_int_equal(read(fds[0], child, sizeof(child)), sizeof(child));
	/* also before anybody has heard of its end */
	while (process_state(child) == PROCESS_ALIVE)
		usleep(1000);
	assert_int_equal(process_state(child), PROCESS_DEAD);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(process_state(child), PROCESS_DEAD);
	/* when it began is not known, or is another's time */
	start = strrchr(us, ' ') + 1;
	start[0] = '0';
	start[1] = 0;
	assert_int_equal(process_state(us), PROCESS_UNKNOWN);
	start[0] = '1';
	assert_int_equal(process_state(us), PROCESS_DEAD);
	us[0] = us[0] == '0' ? '1' : '0';
	assert_int_equal(process_state(us), PROCESS_OTHER_BOOT);
	child[37] = child[37] == '9' ? '8' : '9';
	assert_int_equal(process_state(child), PROCESS_UNKNOWN);
	assert_int_equal(process_state(""), PROCESS_OTHER_BOOT);
	close(fds[0]);
	close(fds[1]);
}

static char heard[4096];
static enum log_level heard_level;

static void hear(enum log_level level, const char *text)
{
	heard_level = level;
	snprintf(heard, sizeof(heard), "%s", text);
}

static void messages(void **state)
{
	char long_text[4096];

	(void)state;
	log_set_sink(hear);
	errno = 0;
	assert_int_equal(fail(ENOSPC, "disk %d: write: %m", 3), -ENOSPC);
	assert_string_equal(heard, "disk 3: write: No space left on device");
	assert_int_equal(heard_level, LOG_LEVEL_ERROR);
	assert_int_equal(errno, ENOSPC);
	log_warn("w");
	assert_int_equal(heard_level, LOG_LEVEL_WARN);
	log_set_level(LOG_LEVEL_WARN);
	log_info("not heard");
	assert_string_equal(heard, "w");
	log_set_level(LOG_LEVEL_INFO);
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = 0;
	log_error("%s", long_text);
	assert_in_range(strlen(heard), 1000, sizeof(long_text));
	log_error("before");
	log_hold();
	assert_int_equal(fail(EIO, "kept"), -EIO);
	assert_string_equal(heard, "before");
	log_warn("not kept");
	assert_string_equal(heard, "not kept");
	log_release(true);
	assert_string_equal(heard, "kept");
	log_error("before");
	log_hold();
	log_error("never was");
	log_release(false);
	assert_string_equal(heard, "before");
	log_error("after");
	assert_string_equal(heard, "after");
	log_set_sink(NULL);
}

#define N_NUMBERS 10000

struct numbers {
	_Atomic unsigned seen[N_NUMBERS];
	_Atomic unsigned of_thread[4];
	uint64_t fail_at;
};

static int see(void *arg, uint64_t i, unsigned thread)
{
	struct numbers *n = arg;

	atomic_fetch_add(&n->seen[i], 1);
	/* one thread, one name */
	if (thread > 3 || atomic_fetch_add(&n->of_thread[thread], 1) != 0)
		return -EINVAL;
	atomic_fetch_sub(&n->of_thread[thread], 1);
	return i == n->fail_at ? -ENOSPC : 0;
}

static void loops(void **state)
{
	static struct numbers n = { .fail_at = N_NUMBERS };
	uint64_t seen = 0;

	(void)state;
	assert_true(cpu_count() >= 1);
	assert_int_equal(parallel_for(4, 0, see, &n), 0);
	assert_int_equal(parallel_for(4, N_NUMBERS, see, &n), 0);
	for (size_t i = 0; i < N_NUMBERS; i++)
		assert_int_equal(atomic_load(&n.seen[i]), 1);
	memset(n.seen, 0, sizeof(n.seen));
	n.fail_at = 100;
	assert_int_equal(parallel_for(4, N_NUMBERS, see, &n), -ENOSPC);
	/* all before the failure, and few after it */
	for (size_t i = 0; i <= 100; i++)
		assert_int_equal(atomic_load(&n.seen[i]), 1);
	for (size_t i = 0; i < N_NUMBERS; i++)
		seen += atomic_load(&n.seen[i]);
	assert_true(seen < N_NUMBERS);
}

struct task {
	_Atomic unsigned *ran, *dropped;
	atomic_bool *gate;
};

static void task_run(void *arg)
{
	struct task *t = arg;

	while (!atomic_load(t->gate))
		;
	atomic_fetch_add(t->ran, 1);
}

static void task_drop(void *arg)
{
	struct task *t = arg;

	atomic_fetch_add(t->dropped, 1);
}

static void pools(void **state)
{
	_Atomic unsigned ran = 0, dropped = 0;
	atomic_bool gate = false;
	struct task task = { &ran, &dropped, &gate };
	unsigned taken = 0;
	struct pool *p;

	(void)state;
	assert_int_equal(pool_new(2, 4, task_run, task_drop, &p), 0);
	/* two that run and four that wait; then it refuses */
	while (taken < 6)
		taken += pool_try(p, &task);
	assert_false(pool_try(p, &task));
	atomic_store(&gate, true);
	pool_free(p);
	assert_int_equal(atomic_load(&ran) + atomic_load(&dropped), taken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes),
		cmocka_unit_test(vec_grows),
		cmocka_unit_test(sizes),
		cmocka_unit_test(times),
		cmocka_unit_test(names),
		cmocka_unit_test(digests),
		cmocka_unit_test(digests_in_threads),
		cmocka_unit_test(uuids),
		cmocka_unit_test(processes),
		cmocka_unit_test(messages),
		cmocka_unit_test(loops),
		cmocka_unit_test(pools),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards the index against LMDB's trust in its pages: one that only LMDB has
 * written to is never called damaged, whatever is put, replaced and removed, by
 * one process or two; of one with a wrong bit in a page nothing is changed or
 * the change is right, no process ends by a signal, and what is there before is
 * there afterwards.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "repo/index.h"
#include "repo/index_agree.h"
#include "repo/index_db.h"
#include "repo/index_guard.h"
#include "src/bytes.h"
#include "src/exit.h"
#include "store_help.h"

#define KEYS 4000
#define SEGMENTS 40
#define BODY_MAX 30000

static const struct uuid uuid = { { 7 } };
static const enum coll colls[] = { COLL_CHUNKS, COLL_CONDEMNED, COLL_LABELS };

/* What must be in the index: of each key its version, 0 where it is not. */
struct model {
	struct index *ix;
	uint64_t seed, version;
	uint64_t has[N_ELEMS(colls)][KEYS];
	unsigned n_ops, keys, grow; /* of a transaction; grow of 16 */
};

static uint64_t next(struct model *m)
{
	m->seed += 0x9e3779b97f4a7c15;
	uint64_t z = m->seed;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static unsigned below(struct model *m, unsigned n)
{
	return (unsigned)(next(m) % n);
}

static int begin(void **state)
{
	(void)state;
	help_begin();
	assert_int_equal(mkdir(help_url, 0700), 0);
	assert_int_equal(index_create(help_url, &uuid), 0);
	return 0;
}

static int end(void **state)
{
	(void)state;
	help_end();
	return 0;
}

static void reopen(struct model *m)
{
	if (m->ix)
		index_close(m->ix);
	m->ix = NULL;
	assert_int_equal(index_open(help_url, &uuid, 0, &m->ix), 0);
}

/* Of all lengths, so that nodes are. */
static struct key key_for(unsigned i)
{
	struct key k = { .len = (uint8_t)(8 + i * 37 % 100) };

	put_be64(k.b, i * UINT64_C(0x9e3779b97f4a7c15));
	return k;
}

/* Small ones, such as fit into a node, and those that have pages of their own.
 */
static uint32_t body_len(enum coll c, uint64_t version)
{
	if (!coll_is_inline(c))
		return 100;
	return (uint32_t)(version % 7 == 0   ? version * 977 % BODY_MAX
			  : version % 3 == 0 ? version * 31 % 2200
					     : version % 90);
}

static const void *body_for(uint64_t version)
{
	static uint8_t b[BODY_MAX];

	memset(b, (int)version, sizeof(b));
	return b;
}

static struct entry entry_for(enum coll c, unsigned i, uint64_t version)
{
	struct entry e = { .len = body_len(c, version),
		.version = version,
		.generation = version / 2 };

	if (coll_is_inline(c)) {
		e.body = body_for(version);
		return e;
	}
	e.segment = 1 + i % SEGMENTS;
	e.off = 4096 + 8 * version;
	return e;
}

static int make_rows(struct index_txn *t, void *arg)
{
	(void)arg;
	for (uint32_t id = 1; id <= SEGMENTS; id++) {
		struct segment_row row = { .id = id, .committed = 4096 };
		int r = index_set_row(t, &row);

		if (r < 0)
			return r;
	}
	return 0;
}

static int change_key(struct index_txn *t, struct model *m, unsigned c,
	unsigned i, bool remove)
{
	uint64_t *has = &m->has[c][i];
	struct key key = key_for(i);
	struct entry old, e;
	int r;

	if (*has) {
		r = index_get(t, colls[c], &key, &old);
		/* a look-up believes the page: whoever takes its word for it
		 * must not come far */
		if (r == -ENOENT) {
			e = entry_for(colls[c], i, *has);
			r = index_insert(t, colls[c], &key, &e);
			assert_int_equal(r, -EBADMSG);
		}
		assert_true(r == 0 || r == -EBADMSG);
		if (r < 0)
			return r;
		assert_int_equal(old.version, *has);
	}
	if (*has && remove) {
		r = index_remove(t, colls[c], &key, &old);
		*has = 0;
		return r;
	}
	e = entry_for(colls[c], i, ++m->version);
	r = *has ? index_replace(t, colls[c], &key, &old, &e)
		 : index_insert(t, colls[c], &key, &e);
	*has = m->version;
	return r;
}

static int change(struct index_txn *t, void *arg)
{
	struct model *m = arg;

	for (unsigned n = 0; n < m->n_ops; n++) {
		unsigned c = below(m, N_ELEMS(colls)), i = below(m, m->keys);
		int r = change_key(t, m, c, i, below(m, 16) >= m->grow);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Whether it says so itself where keys are gone: it counts more of them. */
static bool counts_more(struct index_txn *t, enum coll c)
{
	struct index_scan scan = { .coll = c };
	struct store_count count;
	uint64_t there = 0;

	while (!scan.done) {
		struct index_item items[64];
		size_t n;

		if (index_scan(t, &scan, items, 64, &n) < 0)
			return true;
		index_items_fini(items, n);
		there += n;
	}
	return index_count(t, c, &count) < 0 || count.n > there;
}

/* 1: it is not there, though it should be; -EBADMSG. */
static int check_key(
	struct model *m, struct index_txn *t, unsigned c, unsigned i)
{
	struct key key = key_for(i);
	struct entry e;
	int r = index_get(t, colls[c], &key, &e);

	if (r == -EBADMSG)
		return r;
	if (r == -ENOENT)
		return m->has[c][i] != 0;
	assert_int_equal(r, 0);
	assert_int_equal(e.version, m->has[c][i]);
	assert_int_equal(e.len, body_len(colls[c], e.version));
	if (e.body)
		assert_memory_equal(e.body, body_for(e.version), e.len);
	return 0;
}

/* -EBADMSG where some of it cannot be read, or is gone. */
static int check(struct model *m)
{
	struct index_txn t;
	int damage = 0;

	assert_int_equal(index_read(m->ix, &t), 0);
	for (unsigned c = 0; c < N_ELEMS(colls); c++) {
		bool gone = false;

		for (unsigned i = 0; i < KEYS; i++) {
			int r = check_key(m, &t, c, i);

			gone |= r > 0;
			if (r != 0)
				damage = -EBADMSG;
		}
		assert_true(!gone || counts_more(&t, colls[c]));
	}
	index_read_end(&t);
	return damage;
}

static int look(struct index_txn *t, void *arg)
{
	(void)arg;
	for (unsigned c = 0; c < N_ELEMS(colls); c++)
		for (unsigned i = 0; i < KEYS; i++) {
			struct key key = key_for(i);
			MDB_val k = { key.len, key.b };

			assert_int_equal(
				index_pages_check(t->ix, colls[c], &k, true),
				0);
		}
	return -ECANCELED;
}

/* As whoever opens it now sees it, which has looked at no page yet: all of it
 * makes sense. */
static void check_pages(struct model *m)
{
	reopen(m);
	assert_int_equal(index_agree(m->ix), 0);
	assert_int_equal(index_update(m->ix, look, NULL), -ECANCELED);
}

/* Another process that reads, and so keeps all that is freed from being used
 * again, until TO is closed. */
static pid_t reader(int *to)
{
	int up[2], down[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe2(up, O_CLOEXEC), 0);
	assert_int_equal(pipe2(down, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct index *ix = NULL;
		struct index_txn t;

		close(down[1]);
		if (index_open(help_url, &uuid, 0, &ix) < 0 ||
			index_read(ix, &t) < 0 || write(up[1], "", 1) != 1)
			_exit(1);
		_exit(read(down[0], &c, 1) == 0 ? 0 : 1);
	}
	close(up[1]);
	close(down[0]);
	assert_int_equal(read(up[0], &c, 1), 1);
	close(up[0]);
	*to = down[1];
	return pid;
}

static void reader_end(pid_t pid, int to)
{
	int status;

	close(to);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void run(struct model *m, unsigned n_txns)
{
	for (unsigned n = 0; n < n_txns; n++) {
		m->n_ops = 1 + below(m, n % 8 == 0 ? 900 : 60);
		assert_int_equal(index_update(m->ix, change, m), 0);
	}
}

static void healthy(void **state)
{
	struct model *m = calloc(1, sizeof(*m));

	(void)state;
	m->seed = 1;
	m->keys = KEYS;
	reopen(m);
	assert_int_equal(index_update(m->ix, make_rows, NULL), 0);
	for (unsigned round = 0; round < 6; round++) {
		/* it grows, shrinks to almost nothing, and so on */
		m->grow = round % 4 < 2 ? 15 : 1;
		if (round % 3 == 1) {
			int to;
			pid_t pid;

			index_close(m->ix);
			m->ix = NULL;
			pid = reader(&to);
			reopen(m);
			run(m, 8);
			reader_end(pid, to);
		}
		run(m, 16);
		check_pages(m);
		assert_int_equal(check(m), 0);
	}
	index_close(m->ix);
	free(m);
}

/* Damage. */

static uint8_t *read_all(const char *path, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *all;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	all = malloc((size_t)st.st_size);
	assert_int_equal(read(fd, all, (size_t)st.st_size), st.st_size);
	close(fd);
	*ret_len = (size_t)st.st_size;
	return all;
}

static void write_all(const char *path, const uint8_t *all, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, all, len), (ssize_t)len);
	close(fd);
}

static void mute(enum log_level level, const char *text)
{
	(void)level;
	(void)text;
}

/* As index_guard() sets them; cmocka has handlers of its own. */
static struct sigaction guard_bus, guard_segv;

static void find_guard(void)
{
	MDB_env *env;

	if (mdb_env_create(&env) != 0)
		abort();
	index_guard(env, "");
	mdb_env_close(env);
	sigaction(SIGBUS, NULL, &guard_bus);
	sigaction(SIGSEGV, NULL, &guard_segv);
}

/* In a child, which may end by anything but a signal. */
static int change_damaged(struct model *m)
{
	int r = index_open(help_url, &uuid, 0, &m->ix);

	if (r == 0)
		r = index_agree(m->ix);
	if (r == 0)
		r = index_update(m->ix, change, m);
	if (r == 0)
		r = check(m);
	if (m->ix)
		index_close(m->ix);
	return r;
}

/* The code it ends with: 0, or that for damage. */
static int try_damaged(struct model *m)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		int r;

		sigaction(SIGBUS, &guard_bus, NULL);
		sigaction(SIGSEGV, &guard_segv, NULL);
		if (!getenv("HIVEFS_TEST_VERBOSE"))
			log_set_sink(mute);
		r = change_damaged(m);
		_exit(r == 0 ? 0 : r == -EBADMSG ? EXIT_DAMAGE : 99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status))
		fail_msg("ended by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

static void flip(struct model *m, const char *path, uint8_t *all, size_t len,
	size_t off, unsigned bit, unsigned *refused)
{
	int code;

	all[off] ^= (uint8_t)(1u << bit);
	write_all(path, all, len);
	code = try_damaged(m);
	if (code != 0 && code != EXIT_DAMAGE)
		fail_msg("byte %zu of page %zu, bit %u: exit %d", off % 4096,
			off / 4096, bit, code);
	*refused += code != 0;
	all[off] ^= (uint8_t)(1u << bit);
}

/* Any bit of the two states, and of the head of each page in use. */
static void flipped(void **state)
{
	struct model *m = calloc(1, sizeof(*m));
	char path[700];
	/* some of them, or with this all: minutes */
	unsigned every = getenv("HIVEFS_TEST_ALL") ? 1 : 61;
	unsigned refused = 0, n = 0;
	size_t len;
	uint8_t *all;

	(void)state;
	snprintf(path, sizeof(path), "%s/data.mdb", help_url);
	m->seed = 2;
	m->keys = 300;
	m->grow = 12;
	reopen(m);
	assert_int_equal(index_update(m->ix, make_rows, NULL), 0);
	run(m, 24);
	index_close(m->ix);
	m->ix = NULL;
	m->n_ops = 400;
	all = read_all(path, &len);
	for (size_t page = 0; page < len / 4096; page++) {
		unsigned flags = get_le16(all + 4096 * page + 10);
		size_t first = page < 2 ? 16 : 8, last = page < 2 ? 152 : 18;

		/* 1 branch, 2 leaf, 8 state */
		if (flags != 1 && flags != 2 && flags != 8)
			continue;
		for (size_t i = first; i < last; i++)
			for (unsigned bit = 0; bit < 8; bit++)
				if (n++ % every == 0)
					flip(m, path, all, len, 4096 * page + i,
						bit, &refused);
	}
	assert_true(refused > n / every / 4);
	free(all);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(healthy, begin, end),
		cmocka_unit_test_setup_teardown(flipped, begin, end),
	};

	find_guard();
	/* in memory if it can: each transaction syncs */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

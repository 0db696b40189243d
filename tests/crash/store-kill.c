/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store-kill - processes that write to an embedded store, and read what each
 * other wrote, are killed with SIGKILL at random moments. Afterwards it opens,
 * everything that was acknowledged is there and right, no batch is there in
 * part, the counts agree with the listings; the same again after its index was
 * made anew, which is killed, too, as is making a store in the first place.
 *
 * kill -9 keeps the page cache: what this cannot notice is a missing fdatasync.
 *
 *   store-kill [ROUNDS [SEED]]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "repo/store.h"
#include "src/log.h"

#define WRITERS 3
#define BATCH 25
#define CHUNK_LEN 9000
#define KEEP 12 /* batches that stay before they are removed */

/* What was acknowledged, in memory that outlives whoever wrote it. */
struct acked {
	_Atomic uint64_t batches;  /* inserted: 0 … batches - 1 */
	_Atomic uint64_t removing; /* begun to be removed: below this */
	_Atomic uint64_t removed;  /* gone: below this */
	_Atomic uint64_t version;  /* of the writer's own label */
	_Atomic uint64_t points;
};

static struct acked *acked; /* one for each writer */
static char url[512];

#define CHECK(ok, ...)                                                         \
	do {                                                                   \
		if (!(ok)) {                                                   \
			fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);        \
			fprintf(stderr, __VA_ARGS__);                          \
			fprintf(stderr, "\n");                                 \
			_exit(1);                                              \
		}                                                              \
	} while (0)

static struct key name(
	const char *what, unsigned writer, uint64_t n, unsigned k)
{
	char text[64];
	int len = snprintf(text, sizeof(text), "%s-%u-%llu-%u", what, writer,
		(unsigned long long)n, k);

	return key_of(text, (size_t)len);
}

static void fill(uint8_t *p, uint32_t len, const struct key *key, uint64_t v)
{
	uint64_t x = v + 1;

	for (unsigned i = 0; i < key->len; i++)
		x = (x ^ key->b[i]) * 0x100000001b3u;
	for (uint32_t i = 0; i < len; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		p[i] = (uint8_t)(x >> 56);
	}
}

static bool right(const struct doc *d)
{
	uint8_t want[CHUNK_LEN];

	if (!d->body || d->len > sizeof(want))
		return false;
	fill(want, d->len, &d->key, d->version);
	return memcmp(want, d->body, d->len) == 0;
}

static int put(struct store *s, enum coll c, struct key key, uint64_t version)
{
	uint8_t body[100];
	struct doc d = { .coll = c,
		.key = key,
		.version = version,
		.body = body,
		.len = (uint32_t)(1 + version % sizeof(body)) };

	fill(body, d.len, &key, version);
	return version == 1 ? store_insert(s, &d)
			    : store_replace(s, &d, version - 1);
}

static void must(int r, const char *what)
{
	CHECK(r == 0, "%s: %d", what, r);
}

/* The chunks of a batch; versions are the same, so that they can be removed. */
static void insert_batch(struct store *s, unsigned w, uint64_t n)
{
	static uint8_t bodies[BATCH][CHUNK_LEN];
	struct doc d[BATCH];
	bool inserted[BATCH];

	for (unsigned k = 0; k < BATCH; k++) {
		/* the last few are everyone's: all race for them */
		unsigned owner = k >= BATCH - 5 ? WRITERS : w;

		d[k] = (struct doc){ .coll = COLL_CHUNKS,
			.key = name("c", owner, n, k),
			.version = 1,
			.body = bodies[k],
			.len = CHUNK_LEN - k };
		fill(bodies[k], d[k].len, &d[k].key, 1);
	}
	must(store_insert_many(s, d, BATCH, inserted), "insert_many");
	must(store_sync(s), "sync");
}

static void remove_batch(struct store *s, unsigned w, uint64_t n)
{
	for (unsigned k = 0; k < BATCH - 5; k++) {
		struct key key = name("c", w, n, k);
		int r = store_remove(s, COLL_CHUNKS, &key, 1);

		CHECK(r == 0 || r == -ENOENT, "remove: %d", r);
	}
}

/* One batch that any writer was told is in. */
static void read_batch(struct store *s, unsigned w, unsigned *seed)
{
	uint64_t n = acked[w].batches;
	struct key keys[BATCH];
	struct doc d[BATCH];

	if (n == 0)
		return;
	n = n - 1 - (unsigned)rand_r(seed) % (n < KEEP / 2 ? n : KEEP / 2);
	for (unsigned k = 0; k < BATCH; k++)
		keys[k] = name("c", k >= BATCH - 5 ? WRITERS : w, n, k);
	must(store_get_many(s, COLL_CHUNKS, keys, BATCH, d, NULL), "get_many");
	for (unsigned k = 0; k < BATCH; k++) {
		CHECK(right(&d[k]) || acked[w].removing > n,
			"chunk %.*s is not there", keys[k].len,
			(const char *)keys[k].b);
		doc_fini(&d[k]);
	}
}

static void count_up(struct store *s)
{
	struct key key = name("label", WRITERS, 0, 0);
	struct doc d;
	int r = store_get(s, COLL_LABELS, &key, &d);
	uint64_t v = 0;

	if (r == 0) {
		CHECK(right(&d), "the common label is wrong");
		v = d.version;
		doc_fini(&d);
	}
	CHECK(r == 0 || r == -ENOENT, "get: %d", r);
	r = put(s, COLL_LABELS, key, v + 1);
	CHECK(r == 0 || r == -ESTALE || r == -EEXIST, "replace: %d", r);
	if (r == 0)
		for (uint64_t had = acked[WRITERS].version;
			had < v + 1 &&
			!atomic_compare_exchange_weak(
				&acked[WRITERS].version, &had, v + 1);)
			;
}

static void writer(unsigned w, unsigned seed)
{
	struct acked *a = &acked[w];
	struct store *s = NULL;
	int r;

	must(store_open(url, 0, &s), "open");
	for (;;) {
		insert_batch(s, w, a->batches);
		a->batches++;
		r = put(s, COLL_LABELS, name("label", w, 0, 0), a->version + 1);
		/* killed between the change and its acknowledgement */
		CHECK(r == 0 || r == -ESTALE || r == -EEXIST, "label: %d", r);
		a->version++;
		r = put(s, COLL_POINTS, name("point", w, a->points, 0), 1);
		CHECK(r == 0 || r == -EEXIST, "point: %d", r);
		a->points++;
		must(put(s, COLL_WRITERS, name("x", w, random_u64(), 0), 1),
			"inline");
		count_up(s);
		read_batch(s, (unsigned)rand_r(&seed) % WRITERS, &seed);
		if (a->batches > a->removed + KEEP) {
			a->removing = a->removed + 1;
			remove_batch(s, w, a->removed);
			a->removed++;
		}
	}
}

static bool there(struct store *s, enum coll c, struct key key, uint64_t *ret)
{
	struct doc d;
	int r = store_get(s, c, &key, &d);

	if (r == -ENOENT)
		return false;
	must(r, "get");
	CHECK(right(&d), "%s %.*s is wrong", coll_name(c), key.len,
		(const char *)key.b);
	*ret = d.version;
	doc_fini(&d);
	return true;
}

static int count_visit(void *arg, const struct doc *d)
{
	store_count_add(arg, d);
	return 0;
}

static int walk_visit(void *arg, const struct doc *d, int err, unsigned thread)
{
	(void)thread;
	CHECK(err == 0 && right(d), "%s %.*s is damaged", coll_name(d->coll),
		d->key.len, (const char *)d->key.b);
	store_count_add(arg, d);
	return 0;
}

static void check_counts(struct store *s, struct store_count *ret)
{
	for (unsigned c = 0; c < N_COLLS; c++) {
		struct store_count listed = { 0 }, walked = { 0 };

		must(store_count(s, c, &ret[c]), "count");
		must(store_scan(s, c, NULL, SCAN_KEYS, count_visit, &listed),
			"scan");
		must(store_walk(s, c, 1, walk_visit, &walked), "walk");
		CHECK(memcmp(&listed, &ret[c], sizeof(listed)) == 0 &&
				memcmp(&walked, &ret[c], sizeof(walked)) == 0,
			"%s: counts differ", coll_name(c));
	}
}

/* PARTS: a batch that was never acknowledged may be there in part, since its
 * records were found one by one. */
static void check_writer(struct store *s, unsigned w, bool parts)
{
	struct acked *a = &acked[w];
	uint64_t v;

	for (uint64_t n = 0; n <= a->batches; n++) {
		unsigned got = 0;

		for (unsigned k = 0; k < BATCH - 5; k++)
			got += there(s, COLL_CHUNKS, name("c", w, n, k), &v);
		if (n < a->removed)
			CHECK(got == 0, "batch %u-%llu is back", w,
				(unsigned long long)n);
		else if (n >= a->removing && n < a->batches)
			CHECK(got == BATCH - 5, "batch %u-%llu is lost", w,
				(unsigned long long)n);
		else if (n == a->batches)
			CHECK(parts || got == 0 || got == BATCH - 5,
				"batch %u-%llu is there in part", w,
				(unsigned long long)n);
	}
	v = 0;
	if (!there(s, COLL_LABELS, name("label", w, 0, 0), &v))
		v = 0;
	CHECK(v == a->version || v == a->version + 1,
		"label %u is of version %llu, not %llu", w,
		(unsigned long long)v, (unsigned long long)a->version);
	for (uint64_t n = 0; n < a->points; n++)
		CHECK(there(s, COLL_POINTS, name("point", w, n, 0), &v),
			"point %u-%llu is lost", w, (unsigned long long)n);
	/* what went through unheard counts from now on */
	if (v > a->version)
		a->version = v;
}

static void check(struct store_count *ret, bool parts)
{
	static uint64_t n_checks;
	struct store *s = NULL;
	uint64_t v = 0;

	must(store_open(url, 0, &s), "open");
	for (unsigned w = 0; w < WRITERS; w++)
		check_writer(s, w, parts);
	if (!there(s, COLL_LABELS, name("label", WRITERS, 0, 0), &v))
		v = 0;
	CHECK(v >= acked[WRITERS].version, "the common label lost a change");
	acked[WRITERS].version = v;
	/* whatever is changed next cuts off what was never acknowledged */
	must(put(s, COLL_META, name("check", 0, ++n_checks, 0), 1), "insert");
	check_counts(s, ret);
	store_close(s);
}

static pid_t start(void (*run)(unsigned, unsigned), unsigned a, unsigned b)
{
	pid_t p = fork();

	CHECK(p >= 0, "fork");
	if (p == 0) {
		run(a, b);
		_exit(0);
	}
	return p;
}

/* It was our signal that ended it, or it had finished. */
static void stop(pid_t p)
{
	int status;

	kill(p, SIGKILL);
	CHECK(waitpid(p, &status, 0) == p &&
			((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ||
				(WIFEXITED(status) &&
					WEXITSTATUS(status) == 0)),
		"a process failed by itself: status %x", (unsigned)status);
}

static void sleep_us(unsigned us)
{
	struct timespec t = { .tv_nsec = us * 1000L };

	nanosleep(&t, NULL);
}

static void create(unsigned a, unsigned b)
{
	struct uuid u = uuid_random();

	(void)a;
	(void)b;
	must(store_create(url, &u), "create");
}

static void repair(unsigned a, unsigned b)
{
	struct store_repair result;

	(void)a;
	(void)b;
	must(store_repair_index(url, &result), "repair");
	CHECK(result.damaged == 0, "repair found damage");
}

static int remove_visit(
	const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void kill_creations(unsigned *seed)
{
	for (unsigned i = 0; i < 20; i++) {
		struct uuid u = uuid_random();
		struct store *s = NULL;
		pid_t p = start(create, 0, 0);
		int r;

		sleep_us((unsigned)rand_r(seed) % 20000);
		stop(p);
		r = store_create(url, &u);
		CHECK(r == 0 || r == -EEXIST, "create: %d", r);
		must(store_open(url, 0, &s), "open");
		store_close(s);
		if (i < 19)
			nftw(url, remove_visit, 16, FTW_DEPTH | FTW_PHYS);
	}
}

static void kill_writers(unsigned *seed)
{
	pid_t p[WRITERS];

	for (unsigned w = 0; w < WRITERS; w++)
		p[w] = start(writer, w, (unsigned)rand_r(seed));
	for (unsigned i = 0; i < 6; i++) {
		unsigned w = (unsigned)rand_r(seed) % WRITERS;

		sleep_us((unsigned)rand_r(seed) % 60000);
		stop(p[w]);
		p[w] = start(writer, w, (unsigned)rand_r(seed));
	}
	sleep_us((unsigned)rand_r(seed) % 60000);
	for (unsigned w = 0; w < WRITERS; w++)
		stop(p[w]);
}

static void kill_repair(unsigned *seed)
{
	struct store *s = NULL;
	pid_t p = start(repair, 0, 0);
	int r;

	sleep_us((unsigned)rand_r(seed) % 50000);
	stop(p);
	/* it has a process of its own that looks into the old index, and may
	 * not have got to letting go of the lock */
	for (int n = 0; (r = store_open(url, 0, &s)) == -EBUSY && n < 100; n++)
		sleep_us(100000);
	CHECK(r == 0 || r == -EBADMSG, "open after a killed repair: %d", r);
	if (r == 0)
		store_close(s);
	repair(0, 0);
}

static void quiet(enum log_level level, const char *text)
{
	if (getenv("HIVEFS_TEST_VERBOSE"))
		fprintf(stderr, "%d: %d: %s\n", getpid(), (int)level, text);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 8;
	unsigned seed =
		argc > 2 ? (unsigned)atoi(argv[2]) : (unsigned)time(NULL);
	const char *tmp = getenv("TMPDIR");
	struct store_count before[N_COLLS], after[N_COLLS];

	printf("seed %u\n", seed);
	fflush(stdout);
	snprintf(url, sizeof(url), "%s/hivefs-kill.XXXXXX", tmp ? tmp : "/tmp");
	CHECK(mkdtemp(url), "mkdtemp");
	log_set_sink(quiet);
	acked = mmap(NULL, sizeof(*acked) * (WRITERS + 1),
		PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(acked != MAP_FAILED, "mmap");
	kill_creations(&seed);
	for (unsigned i = 0; i < rounds; i++) {
		kill_writers(&seed);
		check(before, i > 1);
		if (i % 2 == 0)
			continue;
		kill_repair(&seed);
		check(after, true);
		for (unsigned c = COLL_MAPS; c < COLL_WRITERS; c++)
			CHECK(memcmp(&before[c], &after[c],
				      sizeof(before[c])) == 0,
				"%s: not the same after repair", coll_name(c));
	}
	nftw(url, remove_visit, 16, FTW_DEPTH | FTW_PHYS);
	printf("%llu batches, %llu versions\n",
		(unsigned long long)acked[0].batches,
		(unsigned long long)acked[WRITERS].version);
	return 0;
}

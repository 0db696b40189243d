/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards a whole repository with a clone in it against power cuts at any call:
 * forking, writing, syncing, folding, committing, discarding and taking over
 * again. Afterwards the clone is what some prefix of its writes makes it, no
 * shorter than what a sync returned for; a point whose commit returned is there
 * and what it was; so is the point it came from; verify finds no damage, and
 * all goes on.
 *
 * POWER_ROUNDS and POWER_SEED say how often and with what.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "src/log.h" /* before cmocka.h, which has a macro fail() */

#include "power.h"

#include <cmocka.h>

#include <sched.h>

#include "repo/chunk.h"
#include "repo/fold.h"
#include "repo/ingest.h"
#include "repo/live_fold.h"
#include "repo/open_clone.h"
#include "repo/stream_record.h"
#include "repo/verify.h"
#include "src/blk_file.h"

#define SIZE (WINDOW_LEN + 96 * 1024 + 512)
#define OPS_MAX 240
#define POINTS_MAX 8

static char dir[64], repository[80], template[96], image[96];
static uint8_t origin[SIZE]; /* what the point holds */
static struct point base;

/* What was done, in order, and what was known at which call. */
struct op {
	uint64_t off;
	uint32_t len;
	bool zero;
	uint8_t seed;
};

struct mark {
	size_t at; /* calls recorded by then */
	size_t value;
};

struct marks vec(struct mark);

struct history {
	struct op ops[OPS_MAX];
	size_t n_ops;
	struct marks begun, synced; /* so many of the ops */
	struct {
		struct point_id id;
		size_t at, n_ops;
	} points[POINTS_MAX];
	size_t n_points;
	size_t discard_begun, discarded; /* calls; SIZE_MAX: not */
};

static struct history h;

static void note(struct marks *m, size_t value)
{
	assert_int_equal(vec_add(m, (struct mark){ power.log.n, value }), 0);
}

static size_t value_at(const struct mark *v, size_t n, size_t k)
{
	size_t value = 0;

	for (size_t i = 0; i < n && v[i].at <= k; i++)
		value = v[i].value;
	return value;
}

static void fill(uint8_t *p, size_t len, uint8_t seed)
{
	uint32_t x = seed + 1u;

	for (size_t i = 0; i < len; i++) {
		x = x * 1664525u + 1013904223u;
		p[i] = (uint8_t)(x >> 26);
	}
}

static void apply(uint8_t *disk, const struct op *op)
{
	if (op->zero)
		memset(disk + op->off, 0, op->len);
	else
		fill(disk + op->off, op->len, op->seed);
}

static void __attribute__((format(printf, 1, 2))) run(const char *format, ...)
{
	char command[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	assert_int_equal(system(command), 0);
}

struct opened {
	struct repo *repo;
	struct cache *cache;
};

static struct opened open_repo(void)
{
	struct opened o;

	assert_int_equal(repo_open(repository, 0, &o.repo), 0);
	assert_int_equal(cache_new(o.repo, 8 << 20, &o.cache), 0);
	return o;
}

static void close_repo(struct opened *o)
{
	cache_free(o->cache);
	repo_close(o->repo);
}

static const struct stream_owner me = {
	.host = "here", .pid = 1, .place = "test"
};

/*
 * A range that is zeroed is one record of whole pages and one for either edge:
 * power may fail between them.
 */
static void note_zero(const struct op *op)
{
	uint64_t end = op->off + op->len, next;

	for (uint64_t at = op->off; at < end; at = next) {
		next = at % PAGE_LEN ? round_up(at, PAGE_LEN)
				     : round_down(end, PAGE_LEN);
		if (next <= at || next > end || end == SIZE)
			next = at % PAGE_LEN ? MIN_OF(next, end) : end;
		h.ops[h.n_ops++] = (struct op){
			.off = at, .len = (uint32_t)(next - at), .zero = true
		};
	}
}

/* One write or punch of the clone. */
static void change(struct live *l)
{
	struct op one, *op = &one;
	uint8_t buf[70000];

	if (h.n_ops + 3 > OPS_MAX)
		return;
	*op = (struct op){ .off = power_random(SIZE),
		.len = (uint32_t)(1 +
				  power_random(power_random(6) ? 9000 : 70000)),
		.zero = power_random(5) == 0,
		.seed = (uint8_t)power_random(256) };
	if (power_random(2))
		op->off = round_down(op->off, PAGE_LEN);
	op->len = (uint32_t)MIN_OF((uint64_t)op->len, SIZE - op->off);
	if (op->zero)
		note_zero(op);
	else
		h.ops[h.n_ops++] = one;
	note(&h.begun, h.n_ops);
	if (op->zero) {
		assert_int_equal(live_zero(l, op->off, op->len), 0);
	} else {
		fill(buf, op->len, op->seed);
		assert_int_equal(live_write(l, op->off, op->len, buf), 0);
	}
}

static void fold_it(struct opened *r, struct live *l, unsigned sparse_pages)
{
	struct uuid id = clone_own_id(&base.id);
	struct fold_control control = { .stop = false };
	struct fold_stats stats;
	struct clone c;
	struct fold f = { .repo = r->repo,
		.clone = &c,
		.disks = &l,
		.n_threads = 1,
		.sparse_pages = sparse_pages,
		.control = &control };
	int frozen;

	live_hold(l);
	frozen = live_freeze(l);
	live_unhold(l);
	assert_true(frozen >= 0);
	if (power_random(2))
		change(l);
	if (!frozen)
		return;
	assert_int_equal(clone_get(r->repo, &id, &c), 0);
	assert_int_equal(fold(&f, &stats), 0);
	clone_fini(&c);
}

static void commit_it(struct open_clone *o)
{
	size_t n = h.n_ops;
	struct point p;

	if (h.n_points == POINTS_MAX)
		return;
	assert_int_equal(open_clone_commit(o, &p), 0);
	h.points[h.n_points].id = p.id;
	h.points[h.n_points].n_ops = n;
	h.points[h.n_points++].at = power.log.n;
	/* what is in a point lasts, in the clone, too */
	note(&h.synced, n);
	point_fini(&p);
}

/* From opening the repository to closing it. */
static void live_once(bool may_discard)
{
	struct opened r = open_repo();
	struct open_clone *o;
	struct clone c;
	struct live *l;

	assert_int_equal(clone_fork(r.repo, &base, NULL, &c), 0);
	assert_int_equal(open_clone_take(r.cache, &c.id, &me, &o), 0);
	clone_fini(&c);
	note(&h.synced, h.n_ops); /* taking over makes it so */
	l = open_clone_disk(o, 0);
	for (unsigned n = (unsigned)power_random(24); n > 0; n--) {
		uint64_t dice = power_random(100);

		if (dice < 70) {
			change(l);
		} else if (dice < 86) {
			assert_int_equal(live_sync(l), 0);
			note(&h.synced, h.n_ops);
		} else if (dice < 94) {
			fold_it(&r, l, dice % 2 ? 64 : 0);
		} else {
			commit_it(o);
		}
	}
	if (may_discard && power_random(6) == 0) {
		h.discard_begun = power.log.n;
		assert_int_equal(open_clone_discard(o), 0);
		h.discarded = power.log.n;
	} else {
		open_clone_close(o);
		note(&h.synced, h.n_ops);
	}
	close_repo(&r);
}

static void read_disk(struct opened *r, const struct point *p, uint8_t *buf)
{
	struct pieces pieces;
	struct disk *d;

	assert_int_equal(
		disk_open(r->cache, "m", &p->disks.v[0].root, SIZE, 512, &d),
		0);
	assert_int_equal(disk_read(d, 0, SIZE, &pieces), 0);
	pieces_copy(&pieces, buf);
	pieces_fini(&pieces);
	disk_close(d);
}

static void check_points(
	struct opened *r, size_t k, uint8_t *got, uint8_t *want)
{
	read_disk(r, &base, got);
	assert_memory_equal(got, origin, SIZE);
	for (size_t i = 0; i < h.n_points; i++) {
		struct point p;
		int err = point_get(r->repo, &h.points[i].id, &p);

		assert_true(err == 0 || (err == -ENOENT && h.points[i].at > k));
		if (err < 0)
			continue;
		memcpy(want, origin, SIZE);
		for (size_t n = 0; n < h.points[i].n_ops; n++)
			apply(want, &h.ops[n]);
		read_disk(r, &p, got);
		assert_memory_equal(got, want, SIZE);
		point_fini(&p);
	}
}

static void read_live(struct live *l, uint8_t *buf)
{
	struct pieces pieces;

	assert_int_equal(live_read(l, 0, SIZE, &pieces), 0);
	pieces_copy(&pieces, buf);
	pieces_fini(&pieces);
}

/*
 * Which prefix of the ops GOT is, from LOW to HIGH: the longest one, as some
 * ops change nothing, and points may have them.
 */
static size_t prefix(size_t low, size_t high, const uint8_t *got, uint8_t *want)
{
	size_t found = SIZE_MAX;

	memcpy(want, origin, SIZE);
	for (size_t n = 0; n <= high; n++) {
		if (n > 0)
			apply(want, &h.ops[n - 1]);
		if (n >= low && memcmp(got, want, SIZE) == 0)
			found = n;
	}
	if (found == SIZE_MAX)
		print_message("no prefix of %zu to %zu ops\n", low, high);
	memcpy(want, got, SIZE);
	return found;
}

static void check_clone(struct opened *r, size_t k, uint8_t *got, uint8_t *want)
{
	size_t low = value_at(h.synced.v, h.synced.n, k);
	size_t high = value_at(h.begun.v, h.begun.n, k);
	struct uuid id = clone_own_id(&base.id);
	struct open_clone *o;
	struct clone c;
	size_t n;
	int err = clone_get(r->repo, &id, &c);

	if (h.discarded != SIZE_MAX && k >= h.discarded)
		assert_int_equal(err, -ENOENT);
	if (err < 0) {
		assert_int_equal(err, -ENOENT);
		assert_true(low == 0 || k > h.discard_begun);
		return;
	}
	clone_fini(&c);
	assert_int_equal(open_clone_take(r->cache, &id, &me, &o), 0);
	read_live(open_clone_disk(o, 0), got);
	n = h.n_ops = prefix(low, high, got, want);
	assert_true(n <= high);
	/* it goes on, and what was lost does not come back */
	change(open_clone_disk(o, 0));
	for (; n < h.n_ops; n++)
		apply(want, &h.ops[n]);
	open_clone_close(o);
	assert_int_equal(open_clone_take(r->cache, &id, &me, &o), 0);
	read_live(open_clone_disk(o, 0), got);
	assert_memory_equal(got, want, SIZE);
	open_clone_close(o);
}

static void check_damage(struct repo *repo)
{
	struct verify job = { .repo = repo, .n_threads = 1 };
	struct verify_result result;

	assert_int_equal(verify(&job, &result), 0);
	assert_int_equal(result.n_damaged, 0);
}

static void check(size_t k)
{
	uint8_t *got = malloc(SIZE), *want = malloc(SIZE);
	struct opened r = open_repo();

	check_points(&r, k, got, want);
	check_damage(r.repo);
	check_clone(&r, k, got, want);
	check_points(&r, k, got, want);
	close_repo(&r);
	free(got);
	free(want);
}

static void one_round(unsigned number)
{
	size_t k, first;

	h.n_ops = h.n_points = 0;
	h.begun.n = h.synced.n = 0;
	h.discard_begun = h.discarded = SIZE_MAX;
	run("rm -rf '%s' && cp -r '%s' '%s'", repository, template, repository);
	power_begin(repository, "");
	do {
		first = power.log.n;
		live_once(power_random(3) == 0);
	} while (h.discarded == SIZE_MAX && power_random(2));
	/* every other one in the last life */
	k = number % 2 ? first + power_random(power.log.n - first + 1)
		       : power_random(power.log.n + 1);
	power.odds = (unsigned)power_random(9);
	power_cut(k);
	check(k);
	vec_fini(&h.begun);
	vec_fini(&h.synced);
}

static void cuts(void **state)
{
	const char *rounds = getenv("POWER_ROUNDS"),
		   *seed = getenv("POWER_SEED");
	uint64_t first = seed ? strtoull(seed, NULL, 0) : random_u64();

	(void)state;
	stream_file_max = 96 << 10;
	for (unsigned i = 0; i < (rounds ? (unsigned)atoi(rounds) : 60); i++) {
		/* each can be had again by itself */
		power.seed = (first + i) * UINT64_C(0x9e3779b97f4a7c15) | 1;
		print_message(
			"POWER_SEED=%llu\n", (unsigned long long)(first + i));
		one_round(i);
	}
}

static void back_up(struct repo *repo)
{
	int fd = open(image, O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct ingest_disk disk = { .name = "disk0" };
	struct ingest job = { .repo = repo,
		.machine = "m",
		.disks = &disk,
		.n_disks = 1,
		.n_threads = 1,
		.consistency = CONSISTENCY_CRASH };

	assert_true(fd >= 0);
	assert_int_equal(write(fd, origin, SIZE), SIZE);
	assert_int_equal(blk_file_new(fd, image, false, &disk.source), 0);
	assert_int_equal(ingest(&job, &base), 0);
	blk_close(disk.source);
}

/* Nothing is synced, so it may as well be in memory. */
static int begin(void **state)
{
	const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	struct repo *repo;
	struct uuid uuid;
	cpu_set_t one;

	(void)state;
	/* a commit is of as many threads as there are processors; with one the
	 * same seed is the same round */
	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	snprintf(dir, sizeof(dir), "%s/test-clone-power.XXXXXX", tmp);
	assert_non_null(mkdtemp(dir));
	snprintf(repository, sizeof(repository), "%s/repo", dir);
	snprintf(template, sizeof(template), "%s/template", dir);
	snprintf(image, sizeof(image), "%s/image", dir);
	for (size_t off = 0; off + (64 << 10) < SIZE; off += 160 << 10)
		fill(origin + off, 64 << 10, (uint8_t)(off >> 14));
	assert_int_equal(repo_init(template, 1, &uuid), 0);
	assert_int_equal(repo_open(template, 0, &repo), 0);
	back_up(repo);
	repo_close(repo);
	run("rm -f '%s/reserve'", template);
	return 0;
}

static int end(void **state)
{
	(void)state;
	point_fini(&base);
	run("rm -rf '%s'", dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cuts, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards what is special to streams of the embedded store. The last file may
 * end anywhere: what is replayed is a prefix, whatever is cut off and whichever
 * bit is flipped. A flip in synced records shows as damage where a later record
 * says that they were synced; only the last ones of a stream have none behind
 * them, and there a flip looks like a write that power loss tore: a shorter
 * prefix. In any other file every flip is damage. Nothing that merely looks
 * like a record is taken for one.
 */
#define _GNU_SOURCE
#include <xxhash.h>

#include "stream_help.h"

/* A file in memory. */
struct bytes {
	uint8_t *p;
	size_t len;
};

static struct bytes slurp(const char *name)
{
	int fd = open(help_stream_path(name), O_RDONLY);
	struct bytes b = { .len = (size_t)help_size(name) };

	assert_true(fd >= 0);
	b.p = malloc(b.len + 1);
	assert_int_equal(read(fd, b.p, b.len), b.len);
	close(fd);
	return b;
}

static void spit(const char *name, const uint8_t *p, size_t len)
{
	int fd = open(
		help_stream_path(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, len), len);
	close(fd);
}

static void flip(const char *name, off_t off)
{
	int fd = open(help_stream_path(name), O_RDWR);
	uint8_t b;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, off), 1);
	b ^= 0x10;
	assert_int_equal(pwrite(fd, &b, 1, off), 1);
	close(fd);
}

#define FIRST "00000001.str"

/* Of takeovers, too, as they lie in the first file. */
struct layout {
	uint64_t off, end, seq, synced;
	uint32_t len;
	bool data;
};
struct layouts vec(struct layout);

static void lay_out(const struct bytes *b, struct layouts *ret)
{
	uint64_t off = STREAM_FILE_HEADER;

	ret->n = 0;
	while (off + STREAM_RECORD_HEADER <= b->len &&
		get_le64(b->p + off) != 0) {
		const uint8_t *p = b->p + off;
		uint32_t len = get_le32(p + 0x0c);
		struct layout l = { .off = off,
			.end = off + stream_record_len(len),
			.seq = get_le64(p + 0x10),
			.synced = get_le64(p + 0x18),
			.len = len,
			.data = get_le32(p + 0x08) == STREAM_DATA };

		assert_int_equal(vec_add(ret, l), 0);
		off = l.end;
	}
}

/* Three epochs of a few short records, some of them synced. */
static struct bytes make_short(
	struct store *s, struct recs *all, struct layouts *lay)
{
	struct recs got = { 0 };
	struct bytes b;

	for (unsigned i = 0; i < 3; i++) {
		struct stream *st = help_take(s, 0, &got);

		assert_true(help_same(&got, all, 0));
		for (unsigned k = 0; k < 5; k++) {
			assert_int_equal(
				help_append(st, 40 * k + 13 * i, all), 0);
			if (k == i + 1)
				assert_int_equal(stream_sync(st), 0);
		}
		stream_close(st);
	}
	b = slurp(FIRST);
	lay_out(&b, lay);
	assert_int_equal(lay->n, 18);
	vec_fini(&got);
	return b;
}

/* How many data records end at or before END. */
static size_t whole(const struct layouts *lay, uint64_t end)
{
	size_t n = 0;

	for (size_t i = 0; i < lay->n && lay->v[i].end <= end; i++)
		n += lay->v[i].data;
	return n;
}

/* The stream can be taken over as it is, goes on, and comes back so. */
static void goes_on(struct store *s, const struct recs *all, size_t n)
{
	struct recs mine = { 0 }, got = { 0 };
	struct stream *st;

	for (size_t i = 0; i < n; i++)
		assert_int_equal(vec_add(&mine, all->v[i]), 0);
	st = help_take(s, 0, &got);
	assert_true(help_same(&got, &mine, 0));
	assert_int_equal(help_append(st, 77, &mine), 0);
	stream_close(st);
	st = help_take(s, 0, &got);
	assert_true(help_same(&got, &mine, 0));
	stream_close(st);
	vec_fini(&mine);
	vec_fini(&got);
}

static void any_end_is_a_prefix(void **state)
{
	struct store *s = help_create();
	struct recs all = { 0 }, got = { 0 };
	struct layouts lay = { 0 };
	struct bytes b = make_short(s, &all, &lay);
	uint64_t end = lay.v[lay.n - 1].end;

	(void)state;
	assert_true(b.len > end); /* zeroes ahead */
	for (size_t len = 0; len <= end + 64; len++) {
		size_t n = whole(&lay, len);

		if (len < STREAM_FILE_HEADER && len % 97 != 0)
			continue;
		spit(FIRST, b.p, len);
		if (len < STREAM_FILE_HEADER) {
			assert_int_equal(help_peek(s, 0, &got), -EBADMSG);
			continue;
		}
		assert_int_equal(help_peek(s, 0, &got), 0);
		assert_int_equal(got.n, n);
		assert_true(help_prefix(&got, &all, 0));
		if (len % 37 == 0)
			goes_on(s, &all, n);
	}
	free(b.p);
	vec_fini(&lay);
	vec_fini(&all);
	vec_fini(&got);
	store_close(s);
}

/* What a replay must be after a flip in record I. */
static int after_flip(const struct layouts *lay, size_t i)
{
	for (size_t k = i + 1; k < lay->n; k++)
		if (lay->v[k].synced > lay->v[i].seq)
			return -EBADMSG;
	return 0;
}

static void any_flip_is_damage_or_a_prefix(void **state)
{
	struct store *s = help_create();
	struct recs all = { 0 }, got = { 0 };
	struct layouts lay = { 0 };
	struct bytes b = make_short(s, &all, &lay);
	uint64_t end = lay.v[lay.n - 1].end;
	unsigned n_damaged = 0, n_shorter = 0;
	char name[64];

	(void)state;
	for (uint64_t off = 0; off < end + 64; off++) {
		size_t i = 0, n = all.n;
		int want = 0;

		flip(FIRST, (off_t)off);
		while (i < lay.n && lay.v[i].end <= off)
			i++;
		if (off < STREAM_FILE_HEADER) {
			want = -EBADMSG;
		} else if (i < lay.n &&
			   off - lay.v[i].off <
				   STREAM_RECORD_HEADER + lay.v[i].len) {
			want = after_flip(&lay, i); /* not in the padding */
			n = whole(&lay, lay.v[i].off);
		}
		assert_int_equal(help_peek(s, 0, &got), want);
		if (want == 0) {
			assert_int_equal(got.n, n);
			assert_true(help_prefix(&got, &all, 0));
			n_shorter += n < all.n;
		} else {
			snprintf(name, sizeof(name), FIRST ": offset %llu",
				off < STREAM_FILE_HEADER
					? 0
					: (unsigned long long)lay.v[i].off);
			assert_true(said(name));
			n_damaged++;
		}
		if (off % 101 == 0 && want == 0) {
			goes_on(s, &all, n);
			spit(FIRST, b.p, b.len);
		} else {
			flip(FIRST, (off_t)off);
		}
	}
	assert_true(n_damaged > 1000 && n_shorter > 200);
	free(b.p);
	vec_fini(&lay);
	vec_fini(&all);
	vec_fini(&got);
	store_close(s);
}

static int cannot(struct store *s, uint64_t from)
{
	struct recs got = { 0 };
	struct stream *st;
	int peeked = help_peek(s, from, &got), r;

	got.n = 0;
	r = stream_open(s, &help_stream, from, &help_me, help_visit, &got, &st);
	assert_int_equal(r, peeked);
	vec_fini(&got);
	return r;
}

static void damage_in_earlier_files(void **state)
{
	struct store *s = help_create();
	struct recs all = { 0 }, got = { 0 };
	struct stream *st = help_take(s, 0, &got);
	struct bytes one, two;
	uint64_t from;

	(void)state;
	while (help_size("00000003.str") < 0)
		assert_int_equal(help_append(st, 1000003, &all), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(help_append(st, 1000003, &all), 0);
	stream_close(st);
	one = slurp(FIRST);
	two = slurp("00000002.str");
	for (size_t i = 0; i < all.n && all.v[i].place >> 32 == 1; i += 7) {
		off_t off = (off_t)(uint32_t)all.v[i].place;

		flip(FIRST, off + 500000);
		assert_int_equal(cannot(s, 0), -EBADMSG);
		assert_true(said(FIRST ": offset "));
		flip(FIRST, off + 500000);
	}
	/* from behind it, it does not matter */
	flip(FIRST, 10000);
	from = all.v[all.n - 3].seq;
	assert_int_equal(help_peek(s, from, &got), 0);
	assert_int_equal(got.n, 3);
	flip(FIRST, 10000);
	assert_int_equal(
		truncate(help_stream_path(FIRST), help_size(FIRST) - 8), 0);
	assert_int_equal(cannot(s, 0), -EBADMSG);
	spit(FIRST, one.p, one.len - (size_t)stream_record_len(1000003));
	assert_int_equal(cannot(s, 0), -EBADMSG);
	assert_true(said("records behind it are missing"));
	spit(FIRST, two.p, two.len);
	assert_int_equal(cannot(s, 0), -EBADMSG);
	assert_true(said(FIRST ": offset 0: the header is damaged"));
	spit(FIRST, one.p, one.len);
	assert_int_equal(unlink(help_stream_path("00000002.str")), 0);
	assert_int_equal(cannot(s, 0), -EBADMSG);
	assert_true(said("00000002.str: is missing"));
	/* unless by a trim that power loss undid by half */
	assert_int_equal(help_peek(s, from, &got), 0);
	st = help_take(s, from, &got);
	assert_true(help_same(&got, &all, from));
	assert_int_equal(stream_trim(st, from), 0);
	assert_true(help_size(FIRST) < 0);
	stream_close(st);
	/* the last file is gone, and with it what FROM says there was */
	assert_int_equal(unlink(help_stream_path("00000003.str")), 0);
	assert_int_equal(cannot(s, from), -EBADMSG);
	spit("00000002.str", two.p, two.len);
	assert_int_equal(cannot(s, UINT64_C(2) << 40), -EBADMSG);
	assert_true(said("its last records are missing"));
	free(one.p);
	free(two.p);
	vec_fini(&all);
	vec_fini(&got);
	store_close(s);
}

/* A record that verifies at OFF in the first file. */
static void forge(uint64_t seq, uint64_t off, uint8_t *p)
{
	struct stream_record r = { .kind = STREAM_DATA,
		.len = 8,
		.seq = seq,
		.sum = XXH3_64bits(p + STREAM_RECORD_HEADER, 8) };
	FILE *f = fopen(help_path("hivefs"), "r");
	unsigned long long salt = 0;
	char line[200];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "salt %llx", &salt);
	fclose(f);
	stream_record_encode(&r, stream_seed(&help_stream, salt, 1), off, p);
}

/* Records where no records are: copies, and some from another stream. */
static void planted_records(void **state)
{
	struct store *s = help_create();
	struct recs all = { 0 }, got = { 0 };
	struct layouts lay = { 0 };
	struct bytes b = make_short(s, &all, &lay), other;
	struct uuid mine = help_stream;
	uint64_t end = lay.v[lay.n - 1].end;
	struct recs none = { 0 };

	(void)state;
	for (size_t i = 0; i < lay.n; i++) {
		memcpy(b.p + end, b.p + lay.v[i].off,
			lay.v[i].end - lay.v[i].off);
		spit(FIRST, b.p, b.len);
		assert_int_equal(help_peek(s, 0, &got), 0);
		assert_true(help_same(&got, &all, 0));
		memset(b.p + end, 0, lay.v[i].end - lay.v[i].off);
	}
	/* what was there in an earlier life of the file, and what cannot be */
	for (unsigned i = 0; i < 5; i++) {
		uint64_t next = lay.v[lay.n - 1].seq + 1;
		const uint64_t seqs[] = { 0, next - 1, next + 1,
			next + (UINT64_C(1) << 40), next };

		help_bytes(next, b.p + end + STREAM_RECORD_HEADER, 8);
		forge(seqs[i], end, b.p + end);
		spit(FIRST, b.p, b.len);
		assert_int_equal(help_peek(s, 0, &got), 0);
		assert_int_equal(got.n, all.n + (seqs[i] == next));
		got.n = all.n;
		assert_true(help_same(&got, &all, 0));
	}
	memset(b.p + end, 0, 64);
	/* another stream's */
	help_stream = uuid_random();
	other = make_short(s, &none, &lay);
	help_stream = mine;
	memcpy(b.p + lay.v[9].off, other.p + lay.v[9].off,
		lay.v[9].end - lay.v[9].off);
	spit(FIRST, b.p, b.len);
	assert_int_equal(cannot(s, 0), -EBADMSG);
	spit(FIRST, other.p, other.len);
	assert_int_equal(cannot(s, 0), -EBADMSG);
	assert_true(said("the header is damaged"));
	free(b.p);
	free(other.p);
	vec_fini(&lay);
	vec_fini(&all);
	vec_fini(&none);
	vec_fini(&got);
	store_close(s);
}

static void leftovers(void **state)
{
	struct store *s = help_create();
	struct recs all = { 0 }, got = { 0 };
	struct stream *st = help_take(s, 0, &got);

	(void)state;
	for (unsigned i = 0; i < 15; i++)
		assert_int_equal(help_append(st, 100000, &all), 0);
	stream_close(st);
	/* a roll that did not come to its end, and what others put there */
	spit("next.tmp", (const uint8_t *)"HIVESTRM", 8);
	spit("00000007.str~", (const uint8_t *)"x", 1);
	spit("000000002.str", (const uint8_t *)"x", 1);
	st = help_take(s, 0, &got);
	assert_true(help_same(&got, &all, 0));
	assert_int_equal(stream_trim(st, stream_next(st)), 0);
	assert_true(help_size("next.tmp") < 0);
	assert_int_equal(help_size("00000002.str"), STREAM_FILE_HEADER);
	assert_int_equal(help_append(st, 1000, &all), 0);
	stream_close(st);
	unlink(help_stream_path("00000007.str~"));
	unlink(help_stream_path("000000002.str"));
	spit("next.tmp", (const uint8_t *)"x", 1);
	assert_int_equal(stream_remove(s, &help_stream), 0);
	/* made, but died before its first file was */
	store_close(s);
	assert_int_equal(mkdir(help_stream_path(""), 0700), 0);
	spit("next.tmp", (const uint8_t *)"x", 1);
	s = help_open(0);
	assert_int_equal(cannot(s, UINT64_C(1) << 40), -EBADMSG);
	all.n = 0;
	goes_on(s, &all, 0);
	/* never made, nor ever asked for */
	assert_int_equal(mkdir(help_path("streams/x"), 0700), 0);
	assert_int_equal(help_peek(s, 0, &got), 0);
	vec_fini(&all);
	vec_fini(&got);
	store_close(s);
}

int main(void)
{
#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, help_stream_begin, help_stream_end)
	const struct CMUnitTest tests[] = {
		TEST(any_end_is_a_prefix),
		TEST(any_flip_is_damage_or_a_prefix),
		TEST(damage_in_earlier_files),
		TEST(planted_records),
		TEST(leftovers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

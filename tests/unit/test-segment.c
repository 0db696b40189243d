/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards the segment format: what was appended is read back, whatever happens
 * to the bytes damage costs no more records than it touches, and bytes that
 * were records somewhere else are none here.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "repo/segment.h"
#include "src/bytes.h"

#define SEED 77

static uint32_t body_len(unsigned i)
{
	/* none, small, odd, larger than what is copied, larger than a buffer */
	static const uint32_t lens[] = { 0, 5, 4096, 8191, 8192, 70001,
		9u << 19 };

	return lens[i % N_ELEMS(lens)];
}

static uint8_t *body_of(unsigned i)
{
	uint8_t *p = malloc(body_len(i) + 1);

	for (uint32_t k = 0; k < body_len(i); k++)
		p[k] = (uint8_t)(k * 31 + i + (k >> 8));
	return p;
}

static struct record record_of(unsigned i)
{
	char key[KEY_MAX + 1];
	int n = snprintf(key, sizeof(key), "key%0*u", 1 + (int)(i % 60), i);

	return (struct record){ .kind = RECORD_PUT,
		.coll = i % 2 ? COLL_CHUNKS : COLL_MAPS,
		.key = key_of(key, (size_t)n),
		.version = i + 1000,
		.generation = i + 2000,
		.order = i,
		.body_len = body_len(i) };
}

/* N records in an unnamed file; their places in RET. */
static int segment_of(unsigned n, struct record *ret)
{
	struct segment_append a;
	uint8_t *bodies[64];
	int fd = memfd_create("segment", MFD_CLOEXEC);

	assert_true(fd >= 0 && n <= N_ELEMS(bodies));
	assert_int_equal(segment_append_init(&a, fd, SEED, SEGMENT_HEADER), 0);
	for (unsigned i = 0; i < n; i++) {
		ret[i] = record_of(i);
		bodies[i] = body_of(i);
		assert_int_equal(segment_append(&a, &ret[i], bodies[i]), 0);
	}
	assert_int_equal(segment_append_flush(&a), 0);
	assert_int_equal(a.written, a.end);
	segment_append_fini(&a);
	for (unsigned i = 0; i < n; i++)
		free(bodies[i]);
	return fd;
}

static void flip(int fd, uint64_t off)
{
	uint8_t b;

	assert_int_equal(pread(fd, &b, 1, (off_t)off), 1);
	b ^= 0x10;
	assert_int_equal(pwrite(fd, &b, 1, (off_t)off), 1);
}

static uint64_t file_len(int fd)
{
	return (uint64_t)lseek(fd, 0, SEEK_END);
}

/* Scans it all: whole[i] is set for record i, damage gets the other bytes. */
static void scan(int fd, uint64_t seed, const struct record *r, unsigned n,
	bool *whole, uint64_t *damage)
{
	struct segment_scan s;
	struct record found;
	const uint8_t *body;
	uint64_t at = SEGMENT_HEADER;

	memset(whole, 0, n);
	*damage = 0;
	segment_scan_init(&s, fd, seed, SEGMENT_HEADER, file_len(fd));
	while (segment_scan_next(&s, &found, &body) > 0) {
		assert_int_equal(found.off, at);
		at += found.len;
		if (found.kind == RECORD_DAMAGED || !body) {
			*damage += found.len;
			continue;
		}
		for (unsigned i = 0; i < n; i++) {
			uint8_t *want = body_of(i);

			if (r[i].off == found.off) {
				assert_true(key_eq(&r[i].key, &found.key));
				assert_int_equal(r[i].version, found.version);
				assert_int_equal(
					r[i].generation, found.generation);
				assert_int_equal(r[i].order, found.order);
				assert_int_equal(r[i].coll, found.coll);
				assert_memory_equal(want, body, body_len(i));
				whole[i] = true;
			}
			free(want);
		}
	}
	assert_int_equal(at, file_len(fd));
	segment_scan_fini(&s);
}

static void what_is_appended_is_read(void **state)
{
	struct record r[21];
	bool whole[21];
	uint64_t damage;
	int fd = segment_of(21, r);

	(void)state;
	scan(fd, SEED, r, 21, whole, &damage);
	assert_int_equal(damage, 0);
	for (unsigned i = 0; i < 21; i++)
		assert_true(whole[i]);
	close(fd);
}

/* A bit anywhere in a record costs that record alone. */
static void a_flipped_bit_costs_one_record(void **state)
{
	struct record r[6];
	bool whole[6];
	uint64_t damage;
	int fd = segment_of(6, r);

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		/* in the magic, a length, the key, the checksum, the body */
		uint64_t places[] = { 2, 0x0d, RECORD_HEADER + 1, 0x33,
			record_len(r[i].key.len, 0) + body_len(i) / 2 };

		for (unsigned k = 0; k < N_ELEMS(places); k++) {
			if (body_len(i) == 0 && k == 4)
				continue;
			flip(fd, r[i].off + places[k]);
			scan(fd, SEED, r, 6, whole, &damage);
			for (unsigned j = 0; j < 6; j++)
				assert_int_equal(whole[j], i != j);
			assert_int_equal(damage, r[i].len);
			flip(fd, r[i].off + places[k]);
		}
	}
	close(fd);
}

static void a_torn_end_is_no_record(void **state)
{
	struct record r[3];
	bool whole[3];
	uint64_t damage;
	int fd = segment_of(3, r);

	(void)state;
	for (uint64_t cut = 1; cut < r[2].len; cut += 57) {
		assert_int_equal(
			ftruncate(fd, (off_t)(r[2].off + r[2].len - cut)), 0);
		scan(fd, SEED, r, 3, whole, &damage);
		assert_true(whole[0] && whole[1] && !whole[2]);
		assert_int_equal(damage, r[2].len - cut);
	}
	close(fd);
}

/* Neither a move inside the segment, nor to another one, nor to another
 * repository: what a guest stores cannot pass for a record of ours. */
static void a_record_elsewhere_is_none(void **state)
{
	struct record r[2], found;
	bool whole[2];
	uint64_t damage;
	uint8_t buf[512];
	int fd = segment_of(2, r);
	struct seal a = { .salt = 1 }, b = { .salt = 2 };

	(void)state;
	assert_int_equal(
		pread(fd, buf, sizeof(buf), (off_t)r[1].off), r[1].len);
	assert_int_equal(
		record_decode(buf, r[1].len, SEED, r[1].off, &found), 0);
	assert_int_equal(
		record_decode(buf, r[1].len, SEED, r[1].off + 8, &found),
		-EBADMSG);
	scan(fd, SEED + 1, r, 2, whole, &damage);
	assert_false(whole[0] || whole[1]);
	assert_true(segment_seed(&a, 1) != segment_seed(&a, 2));
	assert_true(segment_seed(&a, 1) != segment_seed(&b, 1));
	close(fd);
}

/* No length in a header is believed before its checksum, nor after it. */
static void lengths_are_checked(void **state)
{
	struct record r, found;
	uint8_t buf[512];
	int fd = segment_of(1, &r);
	size_t head = RECORD_HEADER + (size_t)r.key.len;

	(void)state;
	assert_int_equal(pread(fd, buf, sizeof(buf), (off_t)r.off), r.len);
	for (size_t avail = 0; avail < head; avail++)
		assert_int_equal(record_decode(buf, avail, SEED, r.off, &found),
			-EBADMSG);
	for (size_t i = 0; i < head; i++) {
		buf[i] ^= 0xff;
		assert_int_equal(record_decode(buf, r.len, SEED, r.off, &found),
			-EBADMSG);
		buf[i] ^= 0xff;
	}
	close(fd);
}

static void headers_and_names(void **state)
{
	struct seal seal = { .uuid = uuid_random(), .salt = 5 };
	struct seal other = { .uuid = seal.uuid, .salt = 6 };
	uint8_t b[SEGMENT_HEADER];
	char name[SEGMENT_NAME];

	(void)state;
	segment_header_encode(&seal, 42, b);
	assert_int_equal(segment_header_check(&seal, 42, b), 0);
	assert_int_equal(segment_header_check(&seal, 43, b), -EBADMSG);
	assert_int_equal(segment_header_check(&other, 42, b), -EBADMSG);
	b[4000] ^= 1;
	assert_int_equal(segment_header_check(&seal, 42, b), -EBADMSG);
	assert_string_equal(segment_name(42, name), "0000002a.seg");
	assert_int_equal(segment_id("0000002a.seg"), 42);
	assert_int_equal(segment_id("2a.seg"), 0);
	assert_int_equal(segment_id("0000002a.segx"), 0);
	assert_int_equal(segment_id("0000002A.seg"), 0);
	assert_int_equal(segment_id(".."), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_appended_is_read),
		cmocka_unit_test(a_flipped_bit_costs_one_record),
		cmocka_unit_test(a_torn_end_is_no_record),
		cmocka_unit_test(a_record_elsewhere_is_none),
		cmocka_unit_test(lengths_are_checked),
		cmocka_unit_test(headers_and_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards I1 (a chunk's key is the digest of its bytes), the cut that every
 * repository depends on, and that a damaged document never gives bytes.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "src/log.h" /* before cmocka.h, which has a macro fail() */

#include <cmocka.h>
#include <dlfcn.h>
#include <zstd.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "repo/chunk.h"

/* A compressor that goes wrong, as with a faulty memory. */
static bool spoil;

__attribute__((visibility("default"))) size_t ZSTD_compress2(
	ZSTD_CCtx *c, void *dst, size_t cap, const void *src, size_t len)
{
	static size_t (*real)(
		ZSTD_CCtx *, void *, size_t, const void *, size_t);
	size_t n;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "ZSTD_compress2");
	n = real(c, dst, cap, src, len);
	if (spoil)
		((uint8_t *)dst)[n / 2] ^= 1;
	return n;
}

static void hush(enum log_level level, const char *text)
{
	(void)level;
	(void)text;
}

static void fill(uint8_t *p, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		p[i] = (uint8_t)(seed >> 56);
	}
}

/* The cut is part of the format: these lengths must never change. */
static void cut_is_stable(void **state)
{
	static const size_t want[] = { 24576, 20480, 53248, 28672, 90112,
		131072, 28672, 126976 };
	uint8_t *p = malloc(WINDOW_LEN);
	size_t off = 0;

	(void)state;
	fill(p, WINDOW_LEN, 1);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		size_t n = chunk_cut(p + off, WINDOW_LEN - off);

		assert_int_equal(n, want[i]);
		off += n;
	}
	free(p);
}

static void cut_keeps_its_bounds(void **state)
{
	uint8_t *p = malloc(WINDOW_LEN);

	(void)state;
	for (uint64_t seed = 0; seed < 8; seed++) {
		fill(p, WINDOW_LEN, seed);
		for (size_t off = 0; off < WINDOW_LEN;) {
			size_t n = chunk_cut(p + off, WINDOW_LEN - off);

			assert_true(n <= CHUNK_MAX);
			assert_true(n >= CHUNK_MIN || off + n == WINDOW_LEN);
			assert_int_equal(n % PAGE_LEN, 0);
			off += n;
		}
	}
	free(p);
}

static void cut_stops_at_a_zero_page(void **state)
{
	uint8_t *p = malloc(16 * PAGE_LEN);

	(void)state;
	fill(p, 16 * PAGE_LEN, 3);
	memset(p + PAGE_LEN, 0, 2 * PAGE_LEN);
	assert_int_equal(chunk_zeroes(p, 16 * PAGE_LEN), 0);
	assert_int_equal(chunk_cut(p, 16 * PAGE_LEN), PAGE_LEN);
	assert_int_equal(
		chunk_zeroes(p + PAGE_LEN, 15 * PAGE_LEN), 2 * PAGE_LEN);
	/* the last page of a disk may be short */
	assert_int_equal(chunk_cut(p, 512), 512);
	assert_int_equal(chunk_zeroes(p + PAGE_LEN, 512), 512);
	free(p);
}

/* The same bytes, moved by whole pages, give the same chunks again. */
static void cut_meets_again(void **state)
{
	uint8_t *a = calloc(1, WINDOW_LEN), *b = calloc(1, WINDOW_LEN);
	size_t ends_a[512] = { 0 }, n_a = 0, met = 0;

	(void)state;
	fill(a, WINDOW_LEN, 5);
	memcpy(b + 7 * PAGE_LEN, a, WINDOW_LEN - 7 * PAGE_LEN);
	fill(b, 7 * PAGE_LEN, 6);
	for (size_t off = 0; off < WINDOW_LEN;) {
		off += chunk_cut(a + off, WINDOW_LEN - off);
		ends_a[n_a++] = off + 7 * PAGE_LEN;
	}
	for (size_t off = 0; off < WINDOW_LEN;) {
		off += chunk_cut(b + off, WINDOW_LEN - off);
		for (size_t i = 0; i < n_a; i++)
			met += ends_a[i] == off;
	}
	assert_true(met > n_a * 8 / 10);
	free(a);
	free(b);
}

static void round_trip(struct codec *c, const uint8_t *plain, size_t len)
{
	uint8_t *body = malloc(CHUNK_BODY_MAX), *out = malloc(CHUNK_MAX);
	struct digest d = digest_of(plain, len);
	uint32_t n, got;

	assert_int_equal(chunk_encode(c, plain, len, body, &n), 0);
	assert_true(n <= CHUNK_BODY_MAX);
	assert_int_equal(chunk_plain_len(body, n, &got), 0);
	assert_int_equal(got, len);
	assert_int_equal(chunk_decode(c, &d, body, n, out, &got), 0);
	assert_int_equal(got, len);
	assert_memory_equal(out, plain, len);
	free(body);
	free(out);
}

static void encodes_and_decodes(void **state)
{
	uint8_t *p = malloc(CHUNK_MAX);
	struct codec *c;

	(void)state;
	assert_int_equal(codec_new(1, &c), 0);
	fill(p, CHUNK_MAX, 9);
	round_trip(c, p, CHUNK_MAX); /* stored raw */
	round_trip(c, p, 512);
	memset(p + 1, 'x', CHUNK_MAX - 1);
	round_trip(c, p, CHUNK_MAX); /* compressed */
	round_trip(c, p, 4096 + 512);
	codec_free(c);
	free(p);
}

/* Every single-byte change of a document is refused or harmless. */
static void damage_never_gives_other_bytes(void **state)
{
	uint8_t *plain = malloc(CHUNK_MAX), *body = malloc(CHUNK_BODY_MAX);
	uint8_t *out = malloc(CHUNK_MAX);
	struct digest d;
	struct codec *c;
	uint32_t n, got;

	(void)state;
	log_set_sink(hush);
	assert_int_equal(codec_new(1, &c), 0);
	fill(plain, 4096, 1);
	memset(plain + 1000, 7, 3000);
	d = digest_of(plain, 4096);
	assert_int_equal(chunk_encode(c, plain, 4096, body, &n), 0);
	for (uint32_t i = 0; i < n; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			int r;

			body[i] ^= (uint8_t)(1u << bit);
			r = chunk_decode(c, &d, body, n, out, &got);
			if (r == 0)
				assert_memory_equal(out, plain, 4096);
			else
				assert_int_equal(r, -EBADMSG);
			body[i] ^= (uint8_t)(1u << bit);
		}
	}
	for (uint32_t len = 0; len < n; len++)
		assert_int_equal(
			chunk_decode(c, &d, body, len, out, &got), -EBADMSG);
	log_set_sink(NULL);
	codec_free(c);
	free(plain);
	free(body);
	free(out);
}

/* Nothing is stored that does not give the same bytes, unless asked for. */
static void what_is_stored_was_read_back(void **state)
{
	static uint8_t plain[CHUNK_MAX], body[CHUNK_BODY_MAX], out[CHUNK_MAX];
	struct digest d;
	struct codec *c;
	uint32_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i / 64);
	d = digest_of(plain, sizeof(plain));
	log_set_sink(hush);
	assert_int_equal(codec_new(1, &c), 0);
	spoil = true;
	assert_true(chunk_encode(c, plain, sizeof(plain), body, &n) < 0);
	codec_trust(c);
	assert_int_equal(chunk_encode(c, plain, sizeof(plain), body, &n), 0);
	spoil = false;
	assert_int_equal(chunk_decode(c, &d, body, n, out, &n), -EBADMSG);
	assert_int_equal(chunk_encode(c, plain, sizeof(plain), body, &n), 0);
	assert_int_equal(chunk_decode(c, &d, body, n, out, &n), 0);
	codec_free(c);
	log_set_sink(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cut_is_stable),
		cmocka_unit_test(cut_keeps_its_bounds),
		cmocka_unit_test(cut_stops_at_a_zero_page),
		cmocka_unit_test(cut_meets_again),
		cmocka_unit_test(encodes_and_decodes),
		cmocka_unit_test(damage_never_gives_other_bytes),
		cmocka_unit_test(what_is_stored_was_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

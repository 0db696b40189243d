/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards the packed form of maps: the same content packs to the same bytes,
 * what is packed comes back, and no bytes at all can make a reader stray (I7).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "repo/map.h"

static struct digest numbered(uint32_t n)
{
	return digest_of(&n, sizeof(n));
}

static void levels(void **state)
{
	(void)state;
	assert_int_equal(map_root_level(512), 0);
	assert_int_equal(map_root_level(WINDOW_LEN), 0);
	assert_int_equal(map_root_level(WINDOW_LEN + 512), 1);
	assert_int_equal(map_root_level(UINT64_C(256) * WINDOW_LEN), 1);
	assert_int_equal(map_root_level(UINT64_C(256) * WINDOW_LEN + 512), 2);
	assert_int_equal(map_root_level(UINT64_C(1) << 40), 3);
	assert_int_equal(map_root_level(DISK_MAX), 3);
}

static void an_empty_leaf_is_absent(void **state)
{
	uint8_t *out = malloc(MAP_PACKED_MAX);
	struct leaf *l = calloc(1, sizeof(*l));

	(void)state;
	assert_int_equal(leaf_pack(l, out), 0);
	leaf_add(l, 4096, BLK_ZERO, NULL);
	leaf_add(l, 8192, BLK_ZERO, NULL);
	assert_int_equal(l->n, 1);
	assert_int_equal(leaf_pack(l, out), 0);
	free(l);
	free(out);
}

/* A window of every second page, the worst there is, and a short tail. */
static void leaf_round_trip(void **state)
{
	uint8_t *out = malloc(MAP_PACKED_MAX);
	struct leaf *l = calloc(1, sizeof(*l)), *back = calloc(1, sizeof(*l));
	struct leaf_extent e;
	uint32_t len, off = 0;

	(void)state;
	while (off < WINDOW_LEN - 4096) {
		struct digest d = numbered(off);

		leaf_add(l, 4096, BLK_DATA, &d);
		leaf_add(l, 4096, off % 3 ? BLK_ZERO : BLK_LOST, NULL);
		off += 8192;
	}
	len = leaf_pack(l, out);
	assert_true(len > 0 && len <= MAP_PACKED_MAX);
	assert_int_equal(map_check(out, len, 0), 0);
	assert_int_equal(leaf_unpack(out, len, back), 0);
	for (uint32_t i = 0; i < back->n; i++) {
		assert_int_equal(back->v[i].off, l->v[i].off);
		assert_int_equal(back->v[i].len, l->v[i].len);
		assert_int_equal(back->v[i].kind, l->v[i].kind);
		assert_true(digest_eq(&back->v[i].chunk, &l->v[i].chunk));
		leaf_find(out, len, l->v[i].off + 511, &e);
		assert_int_equal(e.off, l->v[i].off);
		assert_int_equal(e.len, l->v[i].len);
		assert_int_equal(e.kind, l->v[i].kind);
		assert_true(digest_eq(&e.chunk, &l->v[i].chunk));
	}
	free(l);
	free(back);
	free(out);
}

static void behind_the_last_extent_is_zero(void **state)
{
	uint8_t *out = malloc(MAP_PACKED_MAX);
	struct leaf *l = calloc(1, sizeof(*l));
	struct digest d = numbered(1);
	struct leaf_extent e;
	uint32_t len;

	(void)state;
	leaf_add(l, 8192, BLK_ZERO, NULL);
	leaf_add(l, 512, BLK_DATA, &d);
	len = leaf_pack(l, out);
	leaf_find(out, len, 8192 + 512, &e);
	assert_int_equal(e.kind, BLK_ZERO);
	assert_int_equal(e.off, 8192 + 512);
	assert_int_equal(e.off + e.len, WINDOW_LEN);
	free(l);
	free(out);
}

static void node_round_trip(void **state)
{
	struct digest child[MAP_FAN] = { 0 };
	uint8_t *out = malloc(MAP_PACKED_MAX);
	uint32_t len;

	(void)state;
	assert_int_equal(node_pack(1, child, out), 0);
	for (unsigned n = 1; n <= MAP_FAN; n += 15) {
		memset(child, 0, sizeof(child));
		for (unsigned i = 0; i < n; i++)
			child[i * 37 % MAP_FAN] = numbered(i);
		len = node_pack(2, child, out);
		assert_int_equal(map_check(out, len, 2), 0);
		assert_int_equal(map_check(out, len, 1), -EBADMSG);
		for (unsigned i = 0; i < MAP_FAN; i++) {
			struct digest d = node_child(out, i);

			assert_true(digest_eq(&d, &child[i]));
		}
	}
	free(out);
}

/* Whatever passes map_check() can be walked without leaving its bytes. */
static void any_bytes_are_safe(void **state)
{
	struct leaf *l = calloc(1, sizeof(*l));
	uint64_t seed = 42;

	(void)state;
	for (unsigned round = 0; round < 200000; round++) {
		uint32_t len = 4 + round % 120;
		uint8_t *p = malloc(len); /* exact: a sanitizer sees a stray */
		struct leaf_extent e;

		for (uint32_t i = 0; i < len; i++) {
			seed = seed * 6364136223846793005u + 1;
			p[i] = (uint8_t)(seed >> 60);
		}
		p[0] = round % 2 ? 'L' : 'N';
		p[1] = 1;
		p[2] = (uint8_t)(round % 5);
		p[3] = 0;
		if (map_check(p, len, 0) == 0) {
			assert_int_equal(leaf_unpack(p, len, l), 0);
			for (uint32_t off = 0; off < WINDOW_LEN; off += 65536)
				leaf_find(p, len, off, &e);
		}
		if (map_check(p, len, 1) == 0)
			for (unsigned i = 0; i < MAP_FAN; i++)
				node_child(p, i);
		free(p);
	}
	free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(levels),
		cmocka_unit_test(an_empty_leaf_is_absent),
		cmocka_unit_test(leaf_round_trip),
		cmocka_unit_test(behind_the_last_extent_is_zero),
		cmocka_unit_test(node_round_trip),
		cmocka_unit_test(any_bytes_are_safe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

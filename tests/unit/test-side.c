/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards what views keep beside a disk against plain buffers: any order of
 * writes, lengths and forgetting; and that the records which carry it on make
 * the same anew, and change nothing where it is.
 */
#undef NDEBUG
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* log.h's is another */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "repo/chunk.h"
#include "repo/side.h"
#include "src/bytes.h"

#define SPACES 3u
#define LEN 20000u

static uint64_t seed = 7;

static uint64_t rnd(uint64_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % below;
}

/* What a space reads as over bytes that are all 0xee. */
struct model {
	uint8_t bytes[LEN];
	bool has_length;
	uint64_t length;
};

static struct model models[SPACES];

static void forget(struct model *m)
{
	memset(m->bytes, 0xee, LEN);
	m->has_length = false;
}

static int set_up(void **state)
{
	struct side *s;

	assert_int_equal(side_new(&s), 0);
	*state = s;
	for (unsigned i = 0; i < SPACES; i++)
		forget(&models[i]);
	return 0;
}

static int tear_down(void **state)
{
	side_free(*state);
	return 0;
}

static void apply(struct side *s, const struct wrecord *r, const uint8_t *data)
{
	assert_int_equal(side_reserve(s, r), 0);
	side_apply(s, r, data);
}

static void model_length(struct model *m, uint64_t len)
{
	/* what nobody wrote is zero from now on */
	if (!m->has_length)
		for (size_t i = 0; i < LEN; i++)
			m->bytes[i] = m->bytes[i] == 0xee ? 0 : m->bytes[i];
	memset(m->bytes + len, 0, LEN - len);
	m->has_length = true;
	m->length = len;
}

static void one(struct side *s)
{
	struct model *m = &models[rnd(SPACES)];
	struct wrecord r = { .space = (uint8_t)(m - models + 1) };
	uint8_t data[3000];
	unsigned what = (unsigned)rnd(40);

	if (what == 0) {
		r.kind = WRECORD_FORGET;
		forget(m);
	} else if (what == 1) {
		r.kind = WRECORD_LENGTH;
		r.len = rnd(LEN);
		model_length(m, r.len);
	} else {
		r.off = rnd(LEN - 1);
		r.len = 1 + rnd(MIN_OF(rnd(4) ? UINT64_C(40) : 3000,
				    LEN - r.off - 0));
		for (size_t i = 0; i < r.len; i++)
			data[i] = (uint8_t)(1 + rnd(200));
		memcpy(m->bytes + r.off, data, r.len);
		m->length = MAX_OF(m->length, r.off + r.len);
	}
	apply(s, &r, data);
}

static void check(struct side *s)
{
	uint8_t got[LEN];
	uint64_t length;

	for (unsigned i = 0; i < SPACES; i++) {
		uint64_t off = rnd(LEN), len = rnd(LEN - off) + 1;
		uint8_t space = (uint8_t)(i + 1);

		memset(got, 0xee, LEN);
		side_read(s, space, off, len, got);
		assert_memory_equal(got, models[i].bytes + off, len);
		memset(got, 0xee, LEN);
		side_read(s, space, 0, LEN, got);
		assert_memory_equal(got, models[i].bytes, LEN);
		assert_int_equal(
			side_length(s, space, &length), models[i].has_length);
		if (models[i].has_length)
			assert_int_equal(length, models[i].length);
	}
}

static int take_over(void *arg, const struct wrecord *r, const uint8_t *data)
{
	uint8_t packed[WRECORD_HEAD + LEN];
	struct wrecord back;

	/* each is a record that replay takes */
	wrecord_write(r, packed);
	assert_true(r->len <= LEN);
	if (r->kind == WRECORD_DATA)
		memcpy(packed + WRECORD_HEAD, data, r->len);
	assert_int_equal(
		wrecord_parse(packed,
			(uint32_t)(WRECORD_HEAD +
				   (r->kind == WRECORD_DATA ? r->len : 0)),
			4096, &back),
		0);
	assert_int_equal(back.space, r->space);
	apply(arg, &back, packed + WRECORD_HEAD);
	return 0;
}

static void against_buffers(void **state)
{
	for (unsigned i = 0; i < 4000; i++) {
		one(*state);
		if (i % 10 == 0)
			check(*state);
	}
}

static void carried_on(void **state)
{
	for (unsigned i = 0; i < 200; i++) {
		struct side *s;

		for (unsigned k = 0; k < 20; k++)
			one(*state);
		assert_int_equal(side_new(&s), 0);
		assert_int_equal(side_visit(*state, take_over, s), 0);
		check(s);
		/* over what it came from */
		side_free(s);
		assert_int_equal(side_new(&s), 0);
		assert_int_equal(side_visit(*state, take_over, s), 0);
		assert_int_equal(side_visit(s, take_over, *state), 0);
		check(*state);
		side_free(s);
	}
}

static void bounded(void **state)
{
	static uint8_t data[WRECORD_SIDE_MAX];
	struct wrecord r = { .space = 9, .len = sizeof(data) };
	unsigned n = 0;

	assert_true(side_is_empty(*state));
	for (; side_fits(*state, r.len); r.off += r.len, n++)
		apply(*state, &r, data);
	assert_int_equal(n, SIDE_MAX / sizeof(data) - 1);
	/* bytes that are written over cost nothing more */
	r.off = 0;
	apply(*state, &r, data);
	assert_true(side_fits(*state, 1000));
	r = (struct wrecord){ .space = 9, .kind = WRECORD_FORGET };
	apply(*state, &r, NULL);
	assert_true(side_is_empty(*state));
	assert_true(side_fits(*state, SIDE_MAX - 4096));
}

static void records(void **state)
{
	static const struct {
		struct wrecord r;
		bool is_one;
	} all[] = {
		{ { .space = 0, .kind = WRECORD_ZERO, .off = 0, .len = 4096 },
			true },
		{ { .space = 0, .kind = WRECORD_ZERO, .off = 0, .len = 4097 },
			false },
		{ { .space = 0,
			  .kind = WRECORD_ZERO,
			  .off = 8192,
			  .len = 4096 },
			false },
		{ { .space = 0, .kind = WRECORD_LENGTH, .off = 0, .len = 0 },
			false },
		{ { .space = 0, .kind = WRECORD_FORGET, .off = 0, .len = 0 },
			false },
		{ { .space = 1, .kind = WRECORD_ZERO, .off = 0, .len = 4096 },
			false },
		{ { .space = 1,
			  .kind = WRECORD_LENGTH,
			  .off = 0,
			  .len = 12345 },
			true },
		{ { .space = 1,
			  .kind = WRECORD_LENGTH,
			  .off = 1,
			  .len = 12345 },
			false },
		{ { .space = 255,
			  .kind = WRECORD_LENGTH,
			  .off = 0,
			  .len = UINT64_MAX },
			false },
		{ { .space = 255, .kind = WRECORD_FORGET, .off = 0, .len = 0 },
			true },
		{ { .space = 1, .kind = WRECORD_FORGET, .off = 0, .len = 1 },
			false },
		{ { .space = 1, .kind = WRECORD_DATA, .off = 5, .len = 0 },
			false },
		{ { .space = 1,
			  .kind = (enum wrecord_kind)4,
			  .off = 0,
			  .len = 0 },
			false },
	};
	uint8_t packed[WRECORD_HEAD + 4];
	struct wrecord back, odd = { .space = 3, .off = 1234567, .len = 3 };

	(void)state;
	for (size_t i = 0; i < N_ELEMS(all); i++) {
		wrecord_write(&all[i].r, packed);
		assert_int_equal(
			wrecord_parse(packed, WRECORD_HEAD, 8192, &back),
			all[i].is_one ? 0 : -EBADMSG);
	}
	wrecord_write(&odd, packed);
	assert_int_equal(
		wrecord_parse(packed, WRECORD_HEAD + 3, 8192, &back), 0);
	assert_int_equal(back.off, odd.off);
	assert_int_equal(
		wrecord_parse(packed, WRECORD_HEAD + 4, 8192, &back), -EBADMSG);
	odd.off = UINT64_MAX - 1;
	wrecord_write(&odd, packed);
	assert_int_equal(
		wrecord_parse(packed, WRECORD_HEAD + 3, 8192, &back), -EBADMSG);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(against_buffers),
		TEST(carried_on),
		TEST(bounded),
		TEST(records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards how a window is cut anew after some of its pages were written: the
 * leaf says exactly what the window holds now, what was lost stays lost unless
 * it was overwritten, and no more is read and stored than the writes call for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "src/log.h" /* before cmocka.h, which has a macro fail() */

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "repo/rechunk.h"
#include "src/bytes.h"

static uint64_t seed = 88172645463325252u;

static uint64_t rnd(uint64_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % below;
}

static void fill(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(rnd(1 << 20) >> 12);
}

struct window {
	uint32_t len;
	uint8_t old[WINDOW_LEN], now[WINDOW_LEN], bytes[WINDOW_LEN];
	struct page_set lost, changed; /* lost: of old */
	struct leaf before, after;
	uint64_t n_read, asked;
	int err; /* of a read, when so much was asked */
};

static struct window *w;

static int set_up(void **state)
{
	(void)state;
	w = calloc(1, sizeof(*w));
	return w ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	free(w);
	return 0;
}

static uint32_t page_end(uint32_t off)
{
	return MIN_OF((off / PAGE_LEN + 1) * PAGE_LEN, w->len);
}

/* As a backup cuts it. */
static void cut_whole(
	const uint8_t *bytes, const struct page_set *lost, struct leaf *ret)
{
	uint32_t at = 0;

	ret->n = 0;
	while (at < w->len) {
		uint32_t end = at, to;
		bool gone = page_in(lost, at / PAGE_LEN);

		while (end < w->len && page_in(lost, end / PAGE_LEN) == gone)
			end = page_end(end);
		if (gone) {
			leaf_add(ret, end - at, BLK_LOST, NULL);
			at = end;
			continue;
		}
		for (; at < end; at = to) {
			size_t n = chunk_zeroes(bytes + at, end - at);
			struct digest d;

			if (n) {
				to = at + (uint32_t)n;
				leaf_add(ret, (uint32_t)n, BLK_ZERO, NULL);
				continue;
			}
			n = chunk_cut(bytes + at, end - at);
			d = digest_of(bytes + at, n);
			leaf_add(ret, (uint32_t)n, BLK_DATA, &d);
			to = at + (uint32_t)n;
		}
	}
}

/* Through packed bytes, as a fold gets it: trailing zeroes are not there. */
static void pack_and_unpack(struct leaf *l)
{
	static uint8_t packed[MAP_PACKED_MAX];
	uint32_t len = leaf_pack(l, packed);

	if (len)
		assert_int_equal(leaf_unpack(packed, len, l), 0);
	else
		l->n = 0;
}

static int read_now(void *arg, uint32_t off, uint32_t len, uint8_t *buf)
{
	assert_ptr_equal(arg, w);
	assert_true(len > 0 && off < w->len && len <= w->len - off);
	if (w->err && w->asked + len > w->len / 4)
		return w->err;
	for (uint32_t at = off; at < off + len; at = page_end(at))
		assert_true(!page_in(&w->lost, at / PAGE_LEN) ||
			    page_in(&w->changed, at / PAGE_LEN));
	w->asked += len;
	memcpy(buf, w->now + off, len);
	return 0;
}

static int run(void)
{
	struct rechunk job = { .old = &w->before,
		.changed = &w->changed,
		.len = w->len,
		.read = read_now,
		.arg = w };

	w->asked = 0;
	memset(w->bytes, 0xa5, sizeof(w->bytes));
	return rechunk(&job, w->bytes, &w->after, &w->n_read);
}

static bool names(const struct leaf *l, const struct leaf_extent *e)
{
	for (uint32_t i = 0; i < l->n; i++)
		if (l->v[i].kind == BLK_DATA && l->v[i].len == e->len &&
			digest_eq(&l->v[i].chunk, &e->chunk))
			return true;
	return false;
}

static void check_extent(const struct leaf_extent *e)
{
	const uint8_t *now = w->now + e->off;
	struct digest d;

	switch (e->kind) {
	case BLK_ZERO:
		assert_true(is_zero(now, e->len));
		break;
	case BLK_LOST:
		break;
	case BLK_DATA:
		assert_true(e->len <= CHUNK_MAX);
		d = digest_of(now, e->len);
		assert_true(digest_eq(&d, &e->chunk));
		/* a fresh one is stored from there */
		if (!names(&w->before, e))
			assert_memory_equal(w->bytes + e->off, now, e->len);
		break;
	}
	for (uint32_t at = e->off; at < e->off + e->len; at = page_end(at)) {
		bool lost = page_in(&w->lost, at / PAGE_LEN) &&
			    !page_in(&w->changed, at / PAGE_LEN);

		assert_true(lost == (e->kind == BLK_LOST));
	}
}

static void check(void)
{
	static uint8_t packed[MAP_PACKED_MAX];
	uint32_t at = 0, len;

	assert_int_equal(w->n_read, w->asked);
	for (uint32_t i = 0; i < w->after.n; i++) {
		assert_int_equal(w->after.v[i].off, at);
		check_extent(&w->after.v[i]);
		at += w->after.v[i].len;
	}
	assert_int_equal(at, w->len);
	len = leaf_pack(&w->after, packed);
	if (len)
		assert_int_equal(map_check(packed, len, 0), 0);
}

/* Bytes of fresh chunks; and of old ones with a changed page. */
static uint64_t fresh(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < w->after.n; i++)
		if (w->after.v[i].kind == BLK_DATA &&
			!names(&w->before, &w->after.v[i]))
			n += w->after.v[i].len;
	return n;
}

static uint64_t touched(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < w->before.n; i++) {
		const struct leaf_extent *e = &w->before.v[i];
		bool any = false;

		for (uint32_t at = e->off; at < e->off + e->len;
			at = page_end(at))
			any = any || page_in(&w->changed, at / PAGE_LEN);
		n += any ? e->len : 0;
	}
	return n;
}

enum { DATA = 1, ZERO = 2, LOST = 4, SAME = 8 };

/* Runs of pages of the KINDS. */
static void make_old(unsigned kinds)
{
	memset(&w->lost, 0, sizeof(w->lost));
	for (uint32_t at = 0; at < w->len;) {
		uint32_t n = 1 + (uint32_t)rnd(rnd(4) ? 12 : 150);
		unsigned kind;

		do
			kind = 1u << rnd(4);
		while (!(kind & kinds));
		for (; n && at < w->len; n--, at = page_end(at)) {
			uint32_t len = page_end(at) - at;

			if (kind == DATA)
				fill(w->old + at, len);
			else
				memset(w->old + at, kind == SAME ? 7 : 0, len);
			if (kind == LOST)
				page_add(&w->lost, at / PAGE_LEN);
		}
	}
	cut_whole(w->old, &w->lost, &w->before);
	pack_and_unpack(&w->before);
	memcpy(w->now, w->old, sizeof(w->now));
	memset(&w->changed, 0, sizeof(w->changed));
}

static void change_page(uint32_t page, unsigned kinds)
{
	uint32_t off = page * PAGE_LEN;
	uint32_t len = page_end(off) - off;
	unsigned kind;

	do
		kind = 1u << rnd(4);
	while (!(kind & kinds));
	page_add(&w->changed, page);
	if (kind == DATA)
		fill(w->now + off, len);
	else if (kind == ZERO)
		memset(w->now + off, 0, len);
	else if (kind == SAME)
		memset(w->now + off, 7, len);
	/* else written as it was */
}

static void change(unsigned n, unsigned kinds)
{
	uint32_t pages = (uint32_t)(round_up(w->len, PAGE_LEN) / PAGE_LEN);

	while (n--) {
		uint32_t page = (uint32_t)rnd(pages);
		uint32_t run_len = rnd(4) ? 1 : (uint32_t)rnd(40);

		for (; run_len && page < pages; run_len--, page++)
			change_page(page, kinds);
	}
}

static void says_what_is_there(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 120; round++) {
		w->len = rnd(3) ? WINDOW_LEN
				: 512 * (1 + (uint32_t)rnd(WINDOW_LEN / 512));
		make_old(1 + (unsigned)rnd(15));
		change((unsigned)rnd(rnd(3) ? 8 : 200), 15);
		assert_int_equal(run(), 0);
		check();
	}
}

/*
 * Where data is overwritten by data, the cuts are those of a backup of what is
 * there now: it finds all its chunks stored.
 */
static void cuts_as_a_backup_does(void **state)
{
	static struct leaf whole;

	(void)state;
	for (unsigned round = 0; round < 40; round++) {
		w->len = rnd(3) ? WINDOW_LEN : 4096 * (1 + (uint32_t)rnd(900));
		make_old(DATA);
		change((unsigned)rnd(30), DATA);
		assert_int_equal(run(), 0);
		check();
		cut_whole(w->now, &w->lost, &whole);
		assert_int_equal(whole.n, w->after.n);
		for (uint32_t i = 0; i < whole.n; i++)
			assert_true(digest_eq(
				&whole.v[i].chunk, &w->after.v[i].chunk));
	}
}

static void what_is_not_there_is_made(void **state)
{
	(void)state;
	w->len = WINDOW_LEN;
	make_old(ZERO);
	assert_int_equal(w->before.n, 0);
	change(20, DATA | SAME);
	assert_int_equal(run(), 0);
	check();
	/* and all of it goes again */
	w->before = w->after;
	pack_and_unpack(&w->before);
	memset(w->now, 0, sizeof(w->now));
	memset(w->changed.bits, 0xff, sizeof(w->changed.bits));
	assert_int_equal(run(), 0);
	check();
	pack_and_unpack(&w->after);
	assert_int_equal(w->after.n, 0);
}

static void nothing_changed_is_read_or_cut(void **state)
{
	(void)state;
	w->len = WINDOW_LEN;
	make_old(DATA | ZERO | LOST | SAME);
	assert_int_equal(run(), 0);
	check();
	assert_int_equal(w->n_read, 0);
	assert_int_equal(fresh(), 0);
}

/* Scattered pages: the chunks that they touch, and little more. */
static void costs_what_is_touched(void **state)
{
	uint64_t all_read = 0, all_fresh = 0, all_touched = 0;

	(void)state;
	w->len = WINDOW_LEN;
	for (unsigned round = 0; round < 60; round++) {
		make_old(DATA);
		for (unsigned n = 1 + (unsigned)rnd(3); n; n--)
			change_page((uint32_t)rnd(WINDOW_PAGES), DATA);
		assert_int_equal(run(), 0);
		check();
		all_read += w->n_read;
		all_fresh += fresh();
		all_touched += touched();
	}
	print_message("read %.2f, stored %.2f of the chunks touched\n",
		(double)all_read / (double)all_touched,
		(double)all_fresh / (double)all_touched);
	assert_true(all_read <= 3 * all_touched);
	assert_true(all_fresh <= 2 * all_touched);
}

static void an_error_is_passed_on(void **state)
{
	(void)state;
	w->len = WINDOW_LEN;
	make_old(DATA);
	change(200, DATA);
	w->err = -EBADMSG;
	assert_int_equal(run(), -EBADMSG);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(says_what_is_there),
		TEST(cuts_as_a_backup_does),
		TEST(what_is_not_there_is_made),
		TEST(nothing_changed_is_read_or_cut),
		TEST(costs_what_is_touched),
		TEST(an_error_is_passed_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

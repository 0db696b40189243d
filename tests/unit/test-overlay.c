/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards the overlay against a plain array: random ranges set, every page, run
 * and window asked for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "repo/overlay.h"
#include "src/bytes.h"

#define N (8 * 1024u) /* pages: eight windows */

static uint64_t seed = 1;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((seed >> 33) % below);
}

static void check(const struct overlay *o, const uint64_t *want)
{
	uint64_t pages = 0, place, n;

	for (uint64_t p = 0; p < N; p++) {
		assert_true(overlay_get(o, p) == want[p]);
		pages += want[p] != PLACE_NONE;
	}
	assert_int_equal(overlay_stats(o).n_pages, pages);
	for (uint64_t p = 0; p < N; p += n) {
		n = overlay_run(o, p, N - p, &place);
		assert_true(n >= 1 && n <= N - p);
		for (uint64_t i = 0; i < n; i++)
			assert_true(want[p + i] ==
				    (place >= PLACE_ZERO ? place
							 : place + i * 4096));
	}
	for (uint64_t w = 0; w < N / 1024; w++) {
		unsigned had = 0;

		for (unsigned i = 0; i < 1024; i++)
			had += want[w * 1024 + i] != PLACE_NONE;
		assert_int_equal(overlay_window_pages(o, w), had);
		if (had)
			assert_int_equal(overlay_next_window(o, w), w);
	}
}

static void against_an_array(void **state)
{
	uint64_t *want = malloc(N * sizeof(*want));
	struct overlay *o;

	(void)state;
	for (unsigned i = 0; i < N; i++)
		want[i] = PLACE_NONE;
	assert_int_equal(overlay_new(&o), 0);
	for (unsigned round = 0; round < 4000; round++) {
		uint32_t p = rnd(N);
		uint32_t n = 1 + rnd(rnd(4) ? 4 : 3000);
		uint64_t place = rnd(4) ? (uint64_t)round << 24 : PLACE_ZERO;

		n = MIN_OF(n, N - p);
		assert_int_equal(overlay_set(o, p, n, place), 0);
		for (uint32_t i = 0; i < n; i++)
			want[p + i] = place == PLACE_ZERO ? PLACE_ZERO
							  : place + i * 4096u;
		if (round % 100 == 0 || round > 3980)
			check(o, want);
	}
	overlay_free(o);
	free(want);
}

static void far_windows_are_found_in_order(void **state)
{
	static const uint64_t windows[] = { 0, 1, 255, 256, 65535, 65536,
		16777215 };
	struct overlay *o;
	uint64_t w = 0, place;

	(void)state;
	assert_int_equal(overlay_new(&o), 0);
	assert_true(overlay_next_window(o, 0) == UINT64_MAX);
	for (unsigned i = 7; i-- > 0;)
		assert_int_equal(
			overlay_set(o, windows[i] * 1024 + 5, 1, 4096), 0);
	for (unsigned i = 0; i < 7; i++) {
		w = overlay_next_window(o, w);
		assert_int_equal(w, windows[i]);
		w++;
	}
	assert_true(overlay_next_window(o, w) == UINT64_MAX);
	assert_int_equal(overlay_run(o, 300 * 1024, UINT64_MAX, &place),
		(65535 - 300) * 1024u);
	assert_true(place == PLACE_NONE);
	overlay_free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_an_array),
		cmocka_unit_test(far_windows_are_found_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards the store's contract (repo/store.h), on the embedded store, or where
 * $HIVEFS_TEST_MONGODB names a server, there.
 */
#define _GNU_SOURCE
#include "store_help.h"

#include "src/bytes.h"
#include "src/pool.h"

static struct store *store;

static int begin(void **state)
{
	(void)state;
	help_begin();
	store = help_create();
	return 0;
}

static int end(void **state)
{
	(void)state;
	store_close(store);
	help_end();
	return 0;
}

static void reopen(void)
{
	assert_int_equal(store_sync(store), 0);
	store_close(store);
	store = help_open(0);
}

static void one_document_of_each(void **state)
{
	struct key a = help_key("a"), b = help_key("b");

	(void)state;
	for (unsigned c = 0; c < N_COLLS; c++) {
		bool content = c == COLL_CHUNKS || c == COLL_MAPS;

		assert_int_equal(help_version(store, c, a), 0);
		assert_int_equal(help_put(store, c, a, 1, 100), 0);
		assert_int_equal(help_put(store, c, a, 1, 100), -EEXIST);
		assert_int_equal(help_version(store, c, a), 1);
		assert_int_equal(help_version(store, c, b), 0);
		assert_int_equal(store_remove(store, c, &b, 1), -ENOENT);
		assert_int_equal(store_remove(store, c, &a, 2), -ESTALE);
		if (!content) {
			assert_int_equal(help_put(store, c, b, 2, 9), -ENOENT);
			assert_int_equal(help_put(store, c, a, 3, 9), -ESTALE);
			assert_int_equal(help_put(store, c, a, 2, 300), 0);
			assert_int_equal(help_version(store, c, a), 2);
		}
		assert_int_equal(
			store_remove(store, c, &a, content ? 1 : 2), 0);
		assert_int_equal(help_version(store, c, a), 0);
		/* and again from the beginning */
		assert_int_equal(help_put(store, c, a, 1, 10), 0);
	}
	help_check_counts(store);
	reopen();
	for (unsigned c = 0; c < N_COLLS; c++)
		assert_int_equal(help_version(store, c, a), 1);
	help_check_counts(store);
}

static void bodies_of_all_sizes(void **state)
{
	static const uint32_t lens[] = { 0, 1, 7, 8, 4095, 8192, 100000,
		DOC_MAX };
	char longest[KEY_MAX];

	(void)state;
	memset(longest, 0xff, sizeof(longest));
	for (unsigned i = 0; i < N_ELEMS(lens); i++) {
		assert_int_equal(help_put(store, COLL_CHUNKS, help_number(i), 1,
					 lens[i]),
			0);
		assert_int_equal(help_put(store, COLL_LABELS, help_number(i), 1,
					 lens[i]),
			0);
		assert_int_equal(help_put(store, COLL_WRITERS, help_number(i),
					 1, lens[i]),
			0);
	}
	assert_int_equal(
		help_put(store, COLL_POINTS, key_of(longest, KEY_MAX), 1, 5),
		0);
	reopen();
	for (unsigned i = 0; i < N_ELEMS(lens); i++) {
		struct doc d;
		struct key k = help_number(i);

		assert_int_equal(store_get(store, COLL_CHUNKS, &k, &d), 0);
		assert_int_equal(d.len, lens[i]);
		assert_true(help_right(&d));
		doc_fini(&d);
		assert_int_equal(help_version(store, COLL_LABELS, k), 1);
		assert_int_equal(help_version(store, COLL_WRITERS, k), 1);
	}
	assert_int_equal(
		help_version(store, COLL_POINTS, key_of(longest, KEY_MAX)), 1);
}

#define MANY 3000

static void insert_range(
	unsigned from, unsigned to, uint64_t version, uint32_t len, bool *ret)
{
	struct doc *d = calloc(to - from, sizeof(*d));

	/* not in key order */
	for (unsigned i = 0; i < to - from; i++)
		d[i] = help_doc(COLL_CHUNKS,
			help_number(from + (i * 7919u) % (to - from)), version,
			len);
	assert_int_equal(store_insert_many(store, d, to - from, ret), 0);
	for (unsigned i = 0; i < to - from; i++)
		doc_fini(&d[i]);
	free(d);
}

static unsigned n_true(const bool *b, unsigned n)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += b[i];
	return sum;
}

static void many_at_once(void **state)
{
	struct key *keys = calloc(MANY + 1, sizeof(*keys));
	struct doc *docs = calloc(MANY + 1, sizeof(*docs));
	bool *flags = calloc(MANY + 1, 1);
	struct store_count count;

	(void)state;
	insert_range(0, 1999, 1, 1000, flags);
	assert_int_equal(n_true(flags, 1999), 1999);
	insert_range(1000, 2999, 2, 500, flags);
	assert_int_equal(n_true(flags, 1999), 1000);
	assert_int_equal(store_count(store, COLL_CHUNKS, &count), 0);
	assert_int_equal(count.n, 2999);
	assert_int_equal(count.bytes, 1999 * 1000 + 1000 * 500);
	for (unsigned i = 0; i <= MANY; i++)
		keys[i] = help_number(i * 2);
	assert_int_equal(
		store_exists_many(store, COLL_CHUNKS, keys, MANY, flags), 0);
	assert_int_equal(n_true(flags, MANY), 1500);
	assert_int_equal(
		store_get_many(store, COLL_CHUNKS, keys, MANY, docs, NULL), 0);
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(flags[i], docs[i].body != NULL);
		if (flags[i]) {
			assert_true(help_right(&docs[i]));
			assert_int_equal(docs[i].version, i * 2 < 1999 ? 1 : 2);
		}
		doc_fini(&docs[i]);
	}
	assert_int_equal(
		store_get_many(store, COLL_CHUNKS, keys, 0, docs, NULL), 0);
	assert_int_equal(store_insert_many(store, docs, 0, flags), 0);
	help_check_counts(store);
	free(keys);
	free(docs);
	free(flags);
}

static void of_equal_keys_the_first_stands(void **state)
{
	struct doc d[4] = { help_doc(COLL_CHUNKS, help_key("x"), 5, 10),
		help_doc(COLL_CHUNKS, help_key("x"), 6, 20),
		help_doc(COLL_MAPS, help_key("x"), 7, 30),
		help_doc(COLL_CHUNKS, help_key("x"), 8, 40) };
	bool inserted[4];

	(void)state;
	assert_int_equal(store_insert_many(store, d, 4, inserted), 0);
	assert_true(inserted[0] && !inserted[1] && inserted[2] && !inserted[3]);
	assert_int_equal(help_version(store, COLL_CHUNKS, d[0].key), 5);
	assert_int_equal(help_version(store, COLL_MAPS, d[0].key), 7);
	for (unsigned i = 0; i < 4; i++)
		doc_fini(&d[i]);
}

struct seen {
	unsigned n, stop_at;
	struct key last;
	bool reverse, bodies, ordered, right;
	struct store *nested;
};

static int see(void *arg, const struct doc *d)
{
	struct seen *s = arg;
	int order =
		memcmp(d->key.b, s->last.b, MIN_OF(d->key.len, s->last.len));

	if (order == 0)
		order = d->key.len - s->last.len;
	if (s->n > 0 && (s->reverse ? order >= 0 : order <= 0))
		s->ordered = false;
	s->right = s->right && (s->bodies ? help_right(d) : !d->body);
	if (s->nested && help_version(s->nested, d->coll, d->key) == 0)
		s->right = false;
	s->last = d->key;
	return ++s->n == s->stop_at ? 42 : 0;
}

static unsigned scan(enum coll c, const char *prefix, unsigned flags,
	unsigned stop_at, const char *last)
{
	struct seen s = { .reverse = flags & SCAN_REVERSE,
		.bodies = !(flags & SCAN_KEYS),
		.stop_at = stop_at,
		.ordered = true,
		.right = true,
		.nested = store };
	struct key p = help_key(prefix ? prefix : "");
	int r = store_scan(store, c, prefix ? &p : NULL, flags, see, &s);

	assert_int_equal(r, stop_at && s.n == stop_at ? 42 : 0);
	assert_true(s.ordered && s.right);
	if (last) {
		struct key k = help_key(last);

		assert_true(key_eq(&s.last, &k));
	}
	return s.n;
}

static void scans(void **state)
{
	bool flags[MANY];
	struct key high = key_of("\xff\xff", 2),
		   higher = key_of("\xff\xff\xff", 3);

	(void)state;
	assert_int_equal(scan(COLL_POINTS, NULL, 0, 0, NULL), 0);
	assert_int_equal(scan(COLL_POINTS, NULL, SCAN_REVERSE, 0, NULL), 0);
	insert_range(0, MANY, 1, 700, flags);
	assert_int_equal(scan(COLL_CHUNKS, NULL, 0, 0, "00002999"), MANY);
	assert_int_equal(
		scan(COLL_CHUNKS, NULL, SCAN_REVERSE, 0, "00000000"), MANY);
	assert_int_equal(
		scan(COLL_CHUNKS, NULL, SCAN_KEYS, 0, "00002999"), MANY);
	assert_int_equal(scan(COLL_CHUNKS, "000012", 0, 0, "00001299"), 100);
	assert_int_equal(scan(COLL_CHUNKS, "000012", SCAN_REVERSE | SCAN_KEYS,
				 0, "00001200"),
		100);
	assert_int_equal(
		scan(COLL_CHUNKS, "00002999", SCAN_REVERSE, 0, "00002999"), 1);
	assert_int_equal(scan(COLL_CHUNKS, "1", SCAN_REVERSE, 0, NULL), 0);
	assert_int_equal(scan(COLL_CHUNKS, NULL, 0, 1234, "00001233"), 1234);
	assert_int_equal(
		scan(COLL_CHUNKS, NULL, SCAN_REVERSE, 1, "00002999"), 1);
	for (unsigned c = COLL_POINTS; c < N_COLLS; c++) {
		assert_int_equal(help_put(store, c, help_key("a"), 1, 40), 0);
		assert_int_equal(help_put(store, c, help_key("ab"), 1, 41), 0);
		assert_int_equal(help_put(store, c, help_key("abc"), 1, 42), 0);
		assert_int_equal(help_put(store, c, help_key("b"), 1, 43), 0);
		assert_int_equal(help_put(store, c, high, 1, 44), 0);
		assert_int_equal(help_put(store, c, higher, 1, 45), 0);
		assert_int_equal(scan(c, NULL, 0, 0, "\xff\xff\xff"), 6);
		assert_int_equal(scan(c, "ab", 0, 0, "abc"), 2);
		assert_int_equal(scan(c, "ab", SCAN_REVERSE, 0, "ab"), 2);
		assert_int_equal(
			scan(c, "\xff\xff", SCAN_REVERSE, 0, "\xff\xff"), 2);
		assert_int_equal(scan(c, NULL, SCAN_REVERSE, 0, "a"), 6);
	}
}

static int remove_it(void *arg, const struct doc *d)
{
	(void)arg;
	return store_remove(store, d->coll, &d->key, d->version);
}

/* A visit may change what is being listed. */
static void a_scan_may_remove(void **state)
{
	struct store_count count;
	bool flags[2000];

	(void)state;
	insert_range(0, 60, 1, 100, flags);
	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(
			help_put(store, COLL_CONDEMNED, help_number(i), 1, 20),
			0);
	assert_int_equal(
		store_scan(store, COLL_CHUNKS, NULL, 0, remove_it, NULL), 0);
	assert_int_equal(store_scan(store, COLL_CONDEMNED, NULL, SCAN_REVERSE,
				 remove_it, NULL),
		0);
	assert_int_equal(store_count(store, COLL_CHUNKS, &count), 0);
	assert_int_equal(count.n, 0);
	assert_int_equal(count.bytes, 0);
	assert_int_equal(count.sum[0] | count.sum[1], 0);
	help_check_counts(store);
}

#define WALKERS 4

struct walk {
	struct store_count count[WALKERS];
	bool wrong;
	int stop;
};

static int walk_visit(void *arg, const struct doc *d, int err, unsigned thread)
{
	struct walk *w = arg;

	if (err || !help_right(d))
		w->wrong = true;
	store_count_add(&w->count[thread], d);
	return w->stop;
}

static void walks(void **state)
{
	bool flags[MANY];

	(void)state;
	insert_range(0, MANY, 1, 3000, flags);
	for (unsigned i = 0; i < 100; i++)
		for (unsigned c = COLL_MAPS; c < N_COLLS; c++)
			assert_int_equal(
				help_put(store, c, help_number(i), 1, 90), 0);
	for (unsigned i = 0; i < 100; i += 3) {
		struct key k = help_number(i);

		assert_int_equal(store_remove(store, COLL_CHUNKS, &k, 1), 0);
		assert_int_equal(
			help_put(store, COLL_LABELS, help_number(i), 2, 80), 0);
	}
	for (unsigned c = 0; c < N_COLLS; c++) {
		struct walk w = { 0 };
		struct store_count count, sum = { 0 };

		assert_int_equal(
			store_walk(store, c, WALKERS, walk_visit, &w), 0);
		assert_false(w.wrong);
		assert_int_equal(store_count(store, c, &count), 0);
		for (unsigned t = 0; t < WALKERS; t++) {
			uint64_t low = sum.sum[0];

			sum.n += w.count[t].n;
			sum.bytes += w.count[t].bytes;
			sum.sum[0] += w.count[t].sum[0];
			sum.sum[1] += w.count[t].sum[1] + (sum.sum[0] < low);
		}
		assert_true(help_same_count(&count, &sum));
	}
	for (int stop = -5; stop < 10; stop += 10) {
		struct walk w = { .stop = stop };

		assert_int_equal(
			store_walk(store, COLL_CHUNKS, 1, walk_visit, &w),
			stop);
		assert_int_equal(w.count[0].n, 1);
	}
}

/* Several threads insert the same chunks: each gets in once, and whoever is
 * told so reads it back at once. One key is counted up by all of them. */
#define RACERS 4
#define RACE_ROUNDS 12
#define RACE_DOCS 40

struct race {
	_Atomic unsigned inserted, replaced;
};

static int race(void *arg, uint64_t i, unsigned thread)
{
	struct race *race = arg;

	(void)i;
	(void)thread;
	for (unsigned round = 0; round < RACE_ROUNDS; round++) {
		struct doc d[RACE_DOCS], got[RACE_DOCS];
		struct key keys[RACE_DOCS];
		bool flags[RACE_DOCS];
		uint64_t v;
		int r;

		for (unsigned k = 0; k < RACE_DOCS; k++) {
			keys[k] = help_number(round * RACE_DOCS / 2 + k);
			d[k] = help_doc(
				COLL_CHUNKS, keys[k], random_u64(), 9000);
		}
		r = store_insert_many(store, d, RACE_DOCS, flags);
		if (r == 0)
			r = store_get_many(
				store, COLL_CHUNKS, keys, RACE_DOCS, got, NULL);
		if (r < 0)
			return r;
		for (unsigned k = 0; k < RACE_DOCS; k++) {
			race->inserted += flags[k];
			if (!got[k].body || !help_right(&got[k]) ||
				(flags[k] && got[k].version != d[k].version))
				return -EBADMSG;
			doc_fini(&d[k]);
			doc_fini(&got[k]);
		}
		v = help_version(store, COLL_LABELS, help_key("all"));
		r = help_put(store, COLL_LABELS, help_key("all"), v + 1, 64);
		race->replaced += r == 0;
		if (r < 0 && r != -ESTALE)
			return r;
	}
	return 0;
}

static void threads_at_once(void **state)
{
	struct race r = { 0 };
	struct store_count count;

	(void)state;
	assert_int_equal(
		help_put(store, COLL_LABELS, help_key("all"), 1, 64), 0);
	assert_int_equal(parallel_for(RACERS, RACERS, race, &r), 0);
	assert_int_equal(store_count(store, COLL_CHUNKS, &count), 0);
	assert_int_equal(count.n, (RACE_ROUNDS + 1) * RACE_DOCS / 2);
	assert_int_equal(r.inserted, count.n);
	assert_int_equal(help_version(store, COLL_LABELS, help_key("all")),
		r.replaced + 1);
	help_check_counts(store);
	reopen();
	help_check_counts(store);
}

#define CHANGES 40u /* enough for a message of them */

/* Documents "c0"..., of version 3 where they are even, absent else. */
static void make_even(enum coll c)
{
	for (unsigned i = 0; i < CHANGES; i += 2)
		for (unsigned v = 1; v <= 3; v++)
			assert_int_equal(
				help_put(store, c, help_number(i), v, 99), 0);
}

static void many_replaced_or_not(void **state)
{
	struct store_change ch[CHANGES];
	struct doc d[CHANGES];

	(void)state;
	make_even(COLL_CONDEMNED);
	for (unsigned i = 0; i < CHANGES; i++) {
		/* of each eighth the version is another */
		d[i] = help_doc(
			COLL_CONDEMNED, help_number(i), i % 8 == 6 ? 6 : 4, 50);
		ch[i] = (struct store_change){ .doc = &d[i],
			.old_version = d[i].version - 1 };
	}
	assert_int_equal(store_change_many(store, ch, CHANGES), 0);
	for (unsigned i = 0; i < CHANGES; i++) {
		assert_int_equal(ch[i].err, i % 2        ? -ENOENT
					    : i % 8 == 6 ? -ESTALE
							 : 0);
		assert_int_equal(
			help_version(store, COLL_CONDEMNED, help_number(i)),
			i % 2        ? 0
			: i % 8 == 6 ? 3
				     : 4);
		doc_fini(&d[i]);
	}
	help_check_counts(store);
}

static void many_inserted_and_removed(void **state)
{
	struct store_change ch[CHANGES];
	struct doc d[CHANGES], heads[CHANGES];
	struct key keys[CHANGES];

	(void)state;
	make_even(COLL_CONDEMNED);
	for (unsigned i = 0; i < CHANGES; i++) {
		bool insert = i % 8 > 3;

		keys[i] = help_number(i);
		d[i] = help_doc(COLL_CONDEMNED, keys[i], 1, 50);
		ch[i] = (struct store_change){ .coll = COLL_CONDEMNED,
			.key = keys[i],
			.old_version = i % 8 == 2 ? 2 : 3 };
		if (insert)
			ch[i] = (struct store_change){ .doc = &d[i],
				.insert = true };
	}
	assert_int_equal(store_change_many(store, ch, CHANGES), 0);
	assert_int_equal(
		store_head_many(store, COLL_CONDEMNED, keys, CHANGES, heads),
		0);
	for (unsigned i = 0; i < CHANGES; i++) {
		bool odd = i % 2, insert = i % 8 > 3, stale = i % 8 == 2;
		uint64_t version = insert ? (odd ? 1 : 3) : stale ? 3 : 0;

		assert_int_equal(ch[i].err, insert  ? (odd ? 0 : -EEXIST)
					    : odd   ? -ENOENT
					    : stale ? -ESTALE
						    : 0);
		assert_int_equal(heads[i].version, version);
		assert_int_equal(heads[i].key.len, version ? keys[i].len : 0);
		assert_int_equal(heads[i].len, version == 0   ? 0
					       : version == 1 ? d[i].len
							      : 99);
		assert_null(heads[i].body);
		doc_fini(&d[i]);
	}
	help_check_counts(store);
}

static void one_changed_in_order(void **state)
{
	struct store_change ch[CHANGES];
	struct doc d[CHANGES];
	struct key key = help_key("one");

	(void)state;
	for (unsigned i = 0; i < CHANGES; i++) {
		d[i] = help_doc(COLL_LABELS, key, i + 1, 50);
		ch[i] = (struct store_change){
			.doc = &d[i], .insert = i == 0, .old_version = i
		};
	}
	assert_int_equal(store_change_many(store, ch, CHANGES), 0);
	for (unsigned i = 0; i < CHANGES; i++) {
		assert_int_equal(ch[i].err, 0);
		doc_fini(&d[i]);
	}
	assert_int_equal(help_version(store, COLL_LABELS, key), CHANGES);
	help_check_counts(store);
}

static void a_reader_writes_nothing(void **state)
{
	struct store *reader = help_open(STORE_READ_ONLY);
	struct doc d = help_doc(COLL_CHUNKS, help_key("x"), 1, 10);
	bool inserted;

	(void)state;
	assert_int_equal(help_put(store, COLL_LABELS, help_key("a"), 1, 9), 0);
	assert_int_equal(help_version(reader, COLL_LABELS, help_key("a")), 1);
	assert_int_equal(
		help_put(reader, COLL_LABELS, help_key("b"), 1, 9), -EROFS);
	assert_int_equal(
		help_put(reader, COLL_LABELS, help_key("a"), 2, 9), -EROFS);
	assert_int_equal(store_remove(reader, COLL_LABELS, &d.key, 1), -EROFS);
	assert_int_equal(store_insert_many(reader, &d, 1, &inserted), -EROFS);
	assert_int_equal(store_sync(reader), 0);
	doc_fini(&d);
	store_close(reader);
}

static void info(void **state)
{
	struct store_info before, after;
	struct key k = help_key("big");

	(void)state;
	assert_int_equal(help_put(store, COLL_CHUNKS, k, 1, 1 << 20), 0);
	assert_int_equal(store_info(store, &before), 0);
	assert_true(before.bytes >= 1 << 20 && before.bytes_free > 0);
	assert_int_equal(store_remove(store, COLL_CHUNKS, &k, 1), 0);
	assert_int_equal(store_info(store, &after), 0);
	/* a server uses it again before it gives it back */
	if (!help_server())
		assert_true(after.bytes_dead >= before.bytes_dead + (1 << 20));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(one_document_of_each),
		TEST(bodies_of_all_sizes),
		TEST(many_at_once),
		TEST(of_equal_keys_the_first_stands),
		TEST(scans),
		TEST(a_scan_may_remove),
		TEST(walks),
		TEST(many_replaced_or_not),
		TEST(many_inserted_and_removed),
		TEST(one_changed_in_order),
		TEST(threads_at_once),
		TEST(a_reader_writes_nothing),
		TEST(info),
	};

	return cmocka_run_group_tests_name(
		help_server() ? "mongodb" : "embedded", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of stores share: a repository in a directory of its own, documents
 * whose bytes follow from their key, and what was logged.
 */
#ifndef HIVEFS_STORE_HELP_H
#define HIVEFS_STORE_HELP_H

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mongo_help.h"
#include "repo/store.h"
#include "src/log.h"

/* last: its macro fail() would break the function of that name */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static char
	help_dir[512]; /* holds the repository, and what else a test makes */
static char help_url[600];
static char help_said[4096]; /* the last message */
static pthread_mutex_t help_lock = PTHREAD_MUTEX_INITIALIZER;

static inline void help_sink(enum log_level level, const char *text)
{
	if (getenv("HIVEFS_TEST_VERBOSE"))
		fprintf(stderr, "%d: %s\n", (int)level, text);
	pthread_mutex_lock(&help_lock);
	snprintf(help_said, sizeof(help_said), "%s", text);
	pthread_mutex_unlock(&help_lock);
}

static inline int help_remove(
	const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void help_end(void)
{
	if (help_server())
		help_drop(help_url);
	nftw(help_dir, help_remove, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static inline void help_begin(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(help_dir, sizeof(help_dir), "%s/hivefs-test.XXXXXX",
		tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(help_dir));
	if (help_server())
		help_database(help_url, sizeof(help_url));
	else
		snprintf(help_url, sizeof(help_url), "%s/repo", help_dir);
	log_set_sink(help_sink);
}

static inline struct store *help_open(unsigned flags)
{
	struct store *s = NULL;

	assert_int_equal(store_open(help_url, flags, &s), 0);
	return s;
}

static inline struct store *help_create(void)
{
	struct uuid u = uuid_random();

	assert_int_equal(store_create(help_url, &u), 0);
	return help_open(0);
}

static inline char *help_path(const char *name)
{
	static char path[700];

	snprintf(path, sizeof(path), "%s/%s", help_url, name);
	return path;
}

static inline struct key help_key(const char *text)
{
	return key_of(text, strlen(text));
}

static inline struct key help_number(uint64_t n)
{
	char text[32];

	return key_of(text, (size_t)snprintf(text, sizeof(text), "%08llu",
				    (unsigned long long)n));
}

/* LEN bytes that follow from key and version. */
static inline void help_fill(
	uint8_t *p, uint32_t len, const struct key *key, uint64_t version)
{
	uint64_t x = version * 0x9e3779b97f4a7c15u + 1;

	for (unsigned i = 0; i < key->len; i++)
		x = (x ^ key->b[i]) * 0x100000001b3u;
	for (uint32_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (uint8_t)x;
	}
}

/* The caller's: doc_fini(). */
static inline struct doc help_doc(
	enum coll c, struct key key, uint64_t version, uint32_t len)
{
	uint8_t *body = malloc(len + 1);

	help_fill(body, len, &key, version);
	return (struct doc){ .coll = c,
		.key = key,
		.version = version,
		.generation = version + 7,
		.body = body,
		.len = len,
		.owned = body };
}

static inline bool help_right(const struct doc *d)
{
	uint8_t *want = malloc(d->len + 1);
	bool right;

	help_fill(want, d->len, &d->key, d->version);
	right = d->body && memcmp(want, d->body, d->len) == 0 &&
		d->generation == d->version + 7;
	free(want);
	return right;
}

static inline int help_put(
	struct store *s, enum coll c, struct key key, uint64_t v, uint32_t len)
{
	struct doc d = help_doc(c, key, v, len);
	int r = v > 1 && c != COLL_CHUNKS && c != COLL_MAPS
			? store_replace(s, &d, v - 1)
			: store_insert(s, &d);

	doc_fini(&d);
	return r;
}

/* The version that is there and right; 0: none. */
static inline uint64_t help_version(
	struct store *s, enum coll c, struct key key)
{
	struct doc d;
	int r = store_get(s, c, &key, &d);
	uint64_t version;

	if (r == -ENOENT)
		return 0;
	assert_int_equal(r, 0);
	assert_true(help_right(&d));
	assert_true(key_eq(&d.key, &key));
	version = d.version;
	doc_fini(&d);
	return version;
}

static inline void help_counts(struct store *s, struct store_count *ret)
{
	for (unsigned c = 0; c < N_COLLS; c++)
		assert_int_equal(store_count(s, c, &ret[c]), 0);
}

static inline bool help_same_count(
	const struct store_count *a, const struct store_count *b)
{
	return a->n == b->n && a->bytes == b->bytes && a->sum[0] == b->sum[0] &&
	       a->sum[1] == b->sum[1];
}

static inline int help_count_visit(void *arg, const struct doc *d)
{
	struct store_count *count = arg;

	store_count_add(count, d);
	return 0;
}

/* What is listed agrees with what is counted. */
static inline void help_check_counts(struct store *s)
{
	for (unsigned c = 0; c < N_COLLS; c++) {
		struct store_count counted, listed = { 0 };

		assert_int_equal(store_count(s, c, &counted), 0);
		assert_int_equal(store_scan(s, c, NULL, SCAN_KEYS,
					 help_count_visit, &listed),
			0);
		assert_true(help_same_count(&counted, &listed));
	}
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repo-fixture - what tests of repo/ share: an empty repository in a temporary
 * directory, disks in memory, points of them, and a store in front of the real
 * one that counts, waits and damages as it is told.
 *
 * Include before cmocka.h, whose fail() is not that of src/log.h.
 */
#ifndef HIVEFS_REPO_FIXTURE_H
#define HIVEFS_REPO_FIXTURE_H

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mongo_help.h"
#include "repo/chunk.h"
#include "repo/machine.h"
#include "repo/map.h"
#include "repo/point.h"
#include "repo/repo.h"
#include "repo/store_ops.h"
#include "src/bytes.h"
#include "src/log.h"

/* without the 32-bit arithmetic */
#define WINDOW ((uint64_t)WINDOW_LEN)

/* Asserts of tests hold whatever NDEBUG says. */
#define MUST(x)                                                                \
	do {                                                                   \
		if (!(x)) {                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__,     \
				#x);                                           \
			abort();                                               \
		}                                                              \
	} while (0)

static inline char *fixture_dir(char buf[64])
{
	snprintf(buf, 64, "/tmp/hivefs-test.XXXXXX");
	MUST(mkdtemp(buf));
	return buf;
}

static inline struct repo *fixture_repo(char dir[64])
{
	struct uuid uuid;
	const char *url;
	struct repo *r;

	fixture_dir(dir);
	url = help_repository(dir);
	MUST(repo_init(url, 1, &uuid) == 0);
	MUST(repo_open(url, 0, &r) == 0);
	return r;
}

static inline void fixture_remove(const char *dir)
{
	char command[128];

	help_repository_end();
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	MUST(system(command) == 0);
}

/* Messages go here instead of to stderr; the last error stays readable. */
static char fixture_said[4096];
static inline void fixture_sink(enum log_level level, const char *text)
{
	if (level == LOG_LEVEL_ERROR)
		snprintf(fixture_said, sizeof(fixture_said), "%s", text);
}

/* Reproducible bytes that compress by half. */
static inline void fixture_fill(void *buf, size_t len, uint64_t seed)
{
	uint8_t *p = buf;

	for (size_t i = 0; i < len; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		p[i] = (uint8_t)(seed >> 60);
	}
}

static inline uint64_t fixture_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static inline void fixture_insert(struct repo *r, enum coll coll,
	const struct digest *d, const void *body, uint32_t len)
{
	struct doc doc = { .coll = coll,
		.key = key_of(d->b, sizeof(d->b)),
		.version = random_u64(),
		.body = body,
		.len = len };
	bool inserted;

	MUST(store_insert_many(r->store, &doc, 1, &inserted) == 0);
}

static inline struct digest fixture_chunk(
	struct repo *r, const void *data, size_t len)
{
	struct digest d = digest_of(data, len);
	uint8_t *body = malloc(CHUNK_BODY_MAX);
	struct codec *codec;
	uint32_t body_len;

	MUST(body && codec_new(1, &codec) == 0);
	MUST(chunk_encode(codec, data, len, body, &body_len) == 0);
	fixture_insert(r, COLL_CHUNKS, &d, body, body_len);
	codec_free(codec);
	free(body);
	return d;
}

/* The absent digest if LEN, of what was packed, is 0. */
static inline struct digest fixture_map(
	struct repo *r, const uint8_t *packed, uint32_t len)
{
	uint8_t *body = malloc(MAP_PACKED_MAX + 64);
	struct digest d = { 0 };

	MUST(body);
	if (len) {
		d = digest_of(packed, len);
		fixture_insert(
			r, COLL_MAPS, &d, body, map_body(packed, len, body));
	}
	free(body);
	return d;
}

static inline struct digest fixture_leaf(struct repo *r, const struct leaf *l)
{
	uint8_t *packed = malloc(MAP_PACKED_MAX);
	struct digest d;

	MUST(packed);
	d = fixture_map(r, packed, leaf_pack(l, packed));
	free(packed);
	return d;
}

/* A window of LEN bytes at DATA as chunks, cut as a backup cuts them. */
static inline struct digest fixture_window(
	struct repo *r, const uint8_t *data, size_t len)
{
	struct leaf *l = calloc(1, sizeof(*l));
	struct digest d;
	size_t off = 0;

	MUST(l);
	while (off < len) {
		size_t n = chunk_zeroes(data + off, len - off);

		if (n) {
			leaf_add(l, (uint32_t)n, BLK_ZERO, NULL);
		} else {
			n = chunk_cut(data + off, len - off);
			d = fixture_chunk(r, data + off, n);
			leaf_add(l, (uint32_t)n, BLK_DATA, &d);
		}
		off += n;
	}
	d = fixture_leaf(r, l);
	free(l);
	return d;
}

/*
 * A tree of N leaves, of which those that are not absent are at the windows
 * given (rising), for a disk of SIZE bytes. Returns the root.
 */
struct fixture_slot {
	uint64_t window;
	struct digest map;
};
static inline struct digest fixture_tree(
	struct repo *r, struct fixture_slot *slots, size_t n, uint64_t size)
{
	struct digest *child = malloc(MAP_FAN * sizeof(*child));
	uint8_t *packed = malloc(MAP_PACKED_MAX);
	struct digest root = { 0 };

	MUST(child && packed);
	for (unsigned level = 1; level <= map_root_level(size); level++) {
		size_t n_up = 0;

		for (size_t i = 0; i < n;) {
			uint64_t up = slots[i].window / MAP_FAN;

			memset(child, 0, MAP_FAN * sizeof(*child));
			for (; i < n && slots[i].window / MAP_FAN == up; i++)
				child[slots[i].window % MAP_FAN] = slots[i].map;
			slots[n_up].window = up;
			slots[n_up++].map = fixture_map(
				r, packed, node_pack(level, child, packed));
		}
		n = n_up;
	}
	if (n)
		root = slots[0].map;
	free(child);
	free(packed);
	return root;
}

/* SIZE bytes at DATA as a disk's map. */
static inline struct digest fixture_disk(
	struct repo *r, const uint8_t *data, uint64_t size)
{
	size_t n = (size_t)(round_up(size, WINDOW_LEN) / WINDOW_LEN);
	struct fixture_slot *slots = calloc(n, sizeof(*slots));
	struct digest root;

	MUST(slots);
	for (size_t i = 0; i < n; i++) {
		uint64_t off = i * (uint64_t)WINDOW_LEN;

		slots[i].window = i;
		slots[i].map = fixture_window(r, data + off,
			(size_t)MIN_OF((uint64_t)WINDOW_LEN, size - off));
	}
	root = fixture_tree(r, slots, n, size);
	free(slots);
	return root;
}

/* A point of MACHINE with N disks, disk0 and on; the id's writer is WRITER. */
static inline struct point_id fixture_point(struct repo *r, const char *machine,
	int64_t time, const struct uuid *writer, const struct digest *roots,
	const uint64_t *sizes, size_t n)
{
	struct point p = { .consistency = CONSISTENCY_CRASH };
	struct point_id id;

	MUST(machine_ensure(r, machine, &p.id.machine) == 0);
	p.id.time = p.end = time;
	p.id.writer = writer ? *writer : uuid_random();
	p.machine = strdup(machine);
	p.host = strdup("here");
	p.version = strdup("1");
	for (size_t i = 0; i < n; i++) {
		struct point_disk d = { .size = sizes[i],
			.sector_size = 512,
			.root = roots[i],
			.source = strdup("memory") };

		MUST(asprintf(&d.name, "disk%zu", i) > 0);
		MUST(vec_add(&p.disks, d) == 0);
	}
	MUST(point_insert(r, &p) == 0);
	id = p.id;
	point_fini(&p);
	return id;
}

/* A store in front of another, for reading. */
struct spy {
	struct store store; /* must come first */
	struct store *real;
	_Atomic unsigned n_calls, n_docs;   /* of get_many */
	_Atomic unsigned delay_us;          /* that each get takes */
	_Atomic bool flip;                  /* a bit in all that is got */
	_Atomic bool hide;                  /* whatever is got is missing */
	void (*on_exists)(struct spy *spy); /* before each exists_many */
	struct key unlisted;                /* left out of scans; len 0: none */
	store_visit visit;
	void *arg;
};

static inline int spy_get_many(struct store *s, enum coll c,
	const struct key *keys, size_t n, struct doc *ret, int *ret_err)
{
	struct spy *spy = (struct spy *)s;
	int r;

	spy->n_calls++;
	spy->n_docs += (unsigned)n;
	if (spy->delay_us)
		usleep(spy->delay_us);
	r = store_get_many(spy->real, c, keys, n, ret, ret_err);
	for (size_t i = 0; r == 0 && i < n; i++) {
		uint8_t *owned = ret[i].owned;

		if (spy->flip && owned)
			owned[ret[i].len / 2] ^= 1;
		if (spy->hide)
			doc_fini(&ret[i]);
	}
	return r;
}

static inline int spy_exists_many(struct store *s, enum coll c,
	const struct key *keys, size_t n, bool *ret)
{
	struct spy *spy = (struct spy *)s;

	if (spy->on_exists)
		spy->on_exists(spy);
	return store_exists_many(spy->real, c, keys, n, ret);
}

static inline int spy_visit(void *arg, const struct doc *doc)
{
	struct spy *spy = arg;

	if (key_eq(&doc->key, &spy->unlisted))
		return 0;
	return spy->visit(spy->arg, doc);
}

static inline int spy_scan(struct store *s, enum coll c,
	const struct key *prefix, unsigned flags, store_visit visit, void *arg)
{
	struct spy *spy = (struct spy *)s;

	spy->visit = visit;
	spy->arg = arg;
	return store_scan(spy->real, c, prefix, flags, spy_visit, spy);
}

static inline int spy_walk(struct store *s, enum coll c, unsigned n_threads,
	store_walk_visit visit, void *arg)
{
	return store_walk(((struct spy *)s)->real, c, n_threads, visit, arg);
}

static inline int spy_count(
	struct store *s, enum coll c, struct store_count *ret)
{
	return store_count(((struct spy *)s)->real, c, ret);
}

static const struct store_ops spy_ops = {
	.get_many = spy_get_many,
	.exists_many = spy_exists_many,
	.scan = spy_scan,
	.walk = spy_walk,
	.count = spy_count,
	.estimate = spy_count,
};

static inline struct repo spy_init(struct spy *spy, struct repo *r)
{
	struct repo front = *r;

	memset(spy, 0, sizeof(*spy));
	spy->store.ops = &spy_ops;
	spy->real = r->store;
	front.store = &spy->store;
	return front;
}

#endif

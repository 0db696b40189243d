/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of streams share: records whose bytes follow from their sequence
 * number, what was appended and what a replay visits.
 */
#ifndef HIVEFS_STREAM_HELP_H
#define HIVEFS_STREAM_HELP_H

#include <assert.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "repo/stream_record.h"
#include "src/bytes.h"
#include "src/vec.h"
#include "store_help.h"

struct rec {
	uint64_t seq, place;
	uint32_t len;
};
struct recs vec(struct rec);

static struct uuid help_stream;
static const struct stream_owner help_me = {
	.host = "here", .pid = 4711, .place = "/mnt/of\nmine"
};

static inline bool said(const char *text)
{
	return strstr(help_said, text) != NULL;
}

/* Asserts of other threads and processes: cmocka's are for the first one. */
#define MUST(x)                                                                \
	do {                                                                   \
		if (!(x)) {                                                    \
			fprintf(stderr, "%s:%d: %s (said: %s)\n", __FILE__,    \
				__LINE__, #x, help_said);                      \
			abort();                                               \
		}                                                              \
	} while (0)

static inline uint64_t help_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* The bytes of a record; a word says which one it is and where in it. */
static inline void help_bytes(uint64_t seq, uint8_t *p, uint32_t len)
{
	uint32_t i = 0;

	for (; i + 8 <= len; i += 8)
		put_le64(p + i, (seq + 1) * 0x9e3779b97f4a7c15u + i);
	for (; i < len; i++)
		p[i] = (uint8_t)(seq * 7 + i);
}

static inline bool help_are_bytes(uint64_t seq, const uint8_t *p, uint32_t len)
{
	uint8_t *want = malloc(len + 1);
	bool same;

	MUST(want);
	help_bytes(seq, want, len);
	same = memcmp(want, p, len) == 0;
	free(want);
	return same;
}

static inline int help_visit(void *arg, uint64_t seq, uint64_t place,
	const uint8_t *payload, uint32_t len)
{
	struct recs *r = arg;

	MUST(help_are_bytes(seq, payload, len));
	MUST(r->n == 0 || seq > r->v[r->n - 1].seq);
	MUST(vec_add(r, (struct rec){ seq, place, len }) == 0);
	return 0;
}

static inline struct stream *help_take(
	struct store *s, uint64_t from, struct recs *r)
{
	struct stream *st = NULL;

	r->n = 0;
	MUST(stream_open(s, &help_stream, from, &help_me, help_visit, r, &st) ==
		0);
	return st;
}

/* What it returns; visits into R. */
static inline int help_peek(struct store *s, uint64_t from, struct recs *r)
{
	struct stream *st;
	int err;

	r->n = 0;
	err = stream_peek(s, &help_stream, from, help_visit, r, &st);
	if (err == 0)
		stream_close(st);
	return err;
}

/* Appends a record of LEN bytes in a few pieces; enters it in R. */
static inline int help_append(struct stream *st, uint32_t len, struct recs *r)
{
	struct rec rec = { .len = len };
	uint64_t next = stream_next(st);
	uint8_t *p = malloc(len + 1);
	uint32_t a = len / 3, b = len / 2;
	struct iovec iov[3] = { { p, a }, { p + a, b - a },
		{ p + b, len - b } };
	int err;

	MUST(p);
	help_bytes(next, p, len);
	if (len % 2)
		iov[0].iov_len = len;
	err = stream_append(st, iov, len % 2 ? 1 : 3, &rec.seq, &rec.place);
	free(p);
	if (err < 0)
		return err;
	MUST(rec.seq == next);
	MUST(vec_add(r, rec) == 0);
	return 0;
}

/* True if GOT is the first of WANT with seq >= from. */
static inline bool help_prefix(
	const struct recs *got, const struct recs *want, uint64_t from)
{
	size_t k = 0;

	while (k < want->n && want->v[k].seq < from)
		k++;
	if (got->n > want->n - k)
		return false;
	for (size_t i = 0; i < got->n; i++)
		if (got->v[i].seq != want->v[k + i].seq ||
			got->v[i].place != want->v[k + i].place ||
			got->v[i].len != want->v[k + i].len)
			return false;
	return true;
}

static inline bool help_same(
	const struct recs *got, const struct recs *want, uint64_t from)
{
	size_t k = 0;

	while (k < want->n && want->v[k].seq < from)
		k++;
	return got->n == want->n - k && help_prefix(got, want, from);
}

static inline char *help_stream_path(const char *name)
{
	static char path[800];
	int n = snprintf(path, sizeof(path), "%s/streams/", help_url);

	for (unsigned i = 0; i < 16; i++)
		n += snprintf(path + n, sizeof(path) - (size_t)n, "%02x",
			help_stream.b[i]);
	snprintf(path + n, sizeof(path) - (size_t)n, "/%s", name);
	return path;
}

static inline off_t help_size(const char *name)
{
	struct stat st;

	return stat(help_stream_path(name), &st) == 0 ? st.st_size : -1;
}

static inline int help_stream_begin(void **state)
{
	(void)state;
	help_begin();
	help_stream = uuid_random();
	return 0;
}

static inline int help_stream_end(void **state)
{
	(void)state;
	help_end();
	return 0;
}

#endif

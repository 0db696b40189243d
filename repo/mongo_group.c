/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/mongo_group.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <xxhash.h>

#include "src/bytes.h"
#include "src/log.h"
#include "src/text.h"

void group_id(const struct uuid *stream, uint64_t seq, char ret[GROUP_ID])
{
	uint8_t be[8];

	put_be64(be, seq);
	hex_encode(stream->b, sizeof(stream->b), ret);
	hex_encode(be, sizeof(be), ret + 2 * sizeof(stream->b));
}

static uint64_t checksum(const struct group *g, const struct uuid *stream)
{
	uint8_t b[16 + 8 + 8 + 8 + 4 + 4 + 1];
	uint64_t head;

	memcpy(b, stream->b, 16);
	put_le64(b + 16, g->seq);
	put_le64(b + 24, g->place);
	put_le64(b + 32, g->by);
	put_le32(b + 40, g->n);
	put_le32(b + 44, g->len);
	b[48] = (uint8_t)g->kind;
	head = XXH3_64bits(b, sizeof(b));
	head = XXH3_64bits_withSeed(g->lens, 4 * (size_t)g->n, head);
	return XXH3_64bits_withSeed(g->data, g->len, head);
}

void group_encode(const struct group *g, const struct uuid *stream,
	const struct stream_owner *owner, bson_t *b)
{
	char id[GROUP_ID];

	group_id(stream, g->seq, id);
	bson_init(b);
	BSON_APPEND_UTF8(b, "_id", id);
	BSON_APPEND_INT32(b, "k", (int32_t)g->kind);
	BSON_APPEND_INT64(b, "at", (int64_t)g->place);
	BSON_APPEND_INT64(b, "by", (int64_t)g->by);
	BSON_APPEND_INT32(b, "n", (int32_t)g->n);
	BSON_APPEND_INT32(b, "len", (int32_t)g->len);
	BSON_APPEND_INT64(b, "x", (int64_t)checksum(g, stream));
	BSON_APPEND_INT64(b, "time", (int64_t)time(NULL));
	if (owner) {
		BSON_APPEND_UTF8(b, "host", owner->host);
		BSON_APPEND_INT64(b, "pid", owner->pid);
		BSON_APPEND_UTF8(b, "place", owner->place);
	}
	if (g->n) {
		BSON_APPEND_BINARY(
			b, "lens", BSON_SUBTYPE_BINARY, g->lens, 4 * g->n);
		BSON_APPEND_BINARY(
			b, "data", BSON_SUBTYPE_BINARY, g->data, g->len);
	}
}

struct raw {
	uint64_t sum;
	const uint8_t *lens, *data;
	uint32_t n_lens, n_data;
};

/* 48 digits: of this stream, then the sequence number */
static bool decode_id(
	const char *text, const struct uuid *stream, uint64_t *ret)
{
	char want[GROUP_ID];

	if (strlen(text) != GROUP_ID - 1)
		return false;
	*ret = strtoull(text + 32, NULL, 16);
	group_id(stream, *ret, want);
	return strcmp(text, want) == 0;
}

static void decode_field(const bson_iter_t *it, const struct uuid *stream,
	struct group *g, struct raw *raw, unsigned *seen)
{
	const char *key = bson_iter_key(it);
	int64_t v = BSON_ITER_HOLDS_INT(it) ? bson_iter_as_int64(it) : -1;

	if (strcmp(key, "_id") == 0 && BSON_ITER_HOLDS_UTF8(it))
		*seen |= decode_id(bson_iter_utf8(it, NULL), stream, &g->seq);
	else if (strcmp(key, "k") == 0 &&
		 (v == STREAM_DATA || v == STREAM_TAKEOVER))
		*seen |= (g->kind = (enum stream_kind)v, 2u);
	else if (strcmp(key, "at") == 0 && BSON_ITER_HOLDS_INT64(it))
		*seen |= (g->place = (uint64_t)v, 4u);
	else if (strcmp(key, "by") == 0 && BSON_ITER_HOLDS_INT64(it))
		*seen |= (g->by = (uint64_t)v, 8u);
	else if (strcmp(key, "n") == 0 && v >= 0 && v <= GROUP_RECORDS)
		*seen |= (g->n = (uint32_t)v, 16u);
	else if (strcmp(key, "len") == 0 && v >= 0 &&
		 v <= GROUP_BYTES + STREAM_PAYLOAD_MAX)
		*seen |= (g->len = (uint32_t)v, 32u);
	else if (strcmp(key, "x") == 0 && BSON_ITER_HOLDS_INT64(it))
		*seen |= (raw->sum = (uint64_t)v, 64u);
	else if (strcmp(key, "lens") == 0 && BSON_ITER_HOLDS_BINARY(it))
		bson_iter_binary(it, NULL, &raw->n_lens, &raw->lens);
	else if (strcmp(key, "data") == 0 && BSON_ITER_HOLDS_BINARY(it))
		bson_iter_binary(it, NULL, &raw->n_data, &raw->data);
}

static int bad(const struct group *g, const struct uuid *stream)
{
	char text[UUID_TEXT];

	return fail(EBADMSG, "stream %s: record %" PRIu64 ": is damaged",
		uuid_text(stream, text), g->seq);
}

/* Lengths that make up the data, and the checksum. */
static bool right(
	const struct group *g, const struct uuid *stream, const struct raw *raw)
{
	struct group with = *g;
	uint64_t sum = 0;

	if (raw->n_lens != 4 * g->n || raw->n_data != g->len)
		return false;
	for (uint32_t i = 0; i < g->n; i++)
		sum += get_le32(raw->lens + 4 * (size_t)i);
	with.lens = (uint8_t *)(uintptr_t)raw->lens;
	with.data = (uint8_t *)(uintptr_t)raw->data;
	return sum == g->len && checksum(&with, stream) == raw->sum;
}

int group_decode(const bson_t *b, const struct uuid *stream, bool head,
	struct group *ret)
{
	struct group g = { 0 };
	struct raw raw = { 0 };
	unsigned seen = 0;
	bson_iter_t it;

	if (bson_iter_init(&it, b))
		while (bson_iter_next(&it))
			decode_field(&it, stream, &g, &raw, &seen);
	if ((seen | (head ? 64u : 0)) != 127 ||
		(g.kind == STREAM_DATA) != (g.n > 0) ||
		(!head && !right(&g, stream, &raw)))
		return bad(&g, stream);
	if (!head && g.n) {
		g.lens = malloc(4 * (size_t)g.n);
		g.data = malloc(g.len + 1);
		if (!g.lens || !g.data) {
			group_fini(&g);
			return fail(ENOMEM, "stream: %m");
		}
		memcpy(g.lens, raw.lens, 4 * (size_t)g.n);
		memcpy(g.data, raw.data, g.len);
	}
	*ret = g;
	return 0;
}

void group_fini(struct group *g)
{
	free(g->lens);
	free(g->data);
	g->lens = g->data = NULL;
}

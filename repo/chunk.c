/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/chunk.h"

#include <assert.h>
#include <bson/bson.h>
#include <errno.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "src/bytes.h"
#include "src/log.h"

/* Part of the format: the same bytes must be cut alike for ever. */
#define CUT_SEED UINT64_C(0x6869766566732031)
#define CUT_MASK 15u

enum codec_id { CODEC_RAW = 0, CODEC_ZSTD = 1 };

size_t chunk_zeroes(const uint8_t *data, size_t len)
{
	size_t off = 0;

	while (off < len) {
		size_t n = MIN_OF(len - off, (size_t)PAGE_LEN);

		if (!is_zero(data + off, n))
			break;
		off += n;
	}
	return off;
}

static bool ends_with(const uint8_t *page, size_t n, size_t len)
{
	return len >= CHUNK_MIN &&
	       (XXH3_64bits_withSeed(page, n, CUT_SEED) & CUT_MASK) == 0;
}

size_t chunk_cut(const uint8_t *data, size_t len)
{
	size_t end = 0;

	while (end < len && end < CHUNK_MAX) {
		size_t n = MIN_OF(len - end, (size_t)PAGE_LEN);
		const uint8_t *page = data + end;

		if (end > 0 && is_zero(page, n))
			break;
		end += n;
		if (ends_with(page, n, end))
			break;
	}
	return end;
}

bool chunk_ends(const uint8_t *data, size_t len)
{
	size_t last = round_down(len - 1, (uint64_t)PAGE_LEN);

	return len >= CHUNK_MAX || ends_with(data + last, len - last, len);
}

struct codec {
	ZSTD_CCtx *compress;
	ZSTD_DCtx *decompress;
	bool trusted; /* nothing is read back */
	uint8_t packed[ZSTD_COMPRESSBOUND(CHUNK_MAX)];
	uint8_t check[CHUNK_MAX];
};

void codec_free(struct codec *c)
{
	ZSTD_freeCCtx(c->compress);
	ZSTD_freeDCtx(c->decompress);
	free(c);
}

int codec_new(int level, struct codec **ret)
{
	struct codec *c = malloc(sizeof(*c));

	if (!c)
		return fail(ENOMEM, "compression: %m");
	c->trusted = false;
	c->compress = ZSTD_createCCtx();
	c->decompress = ZSTD_createDCtx();
	if (!c->compress || !c->decompress ||
		ZSTD_isError(ZSTD_CCtx_setParameter(
			c->compress, ZSTD_c_compressionLevel, level))) {
		codec_free(c);
		return fail(ENOMEM, "compression: %m");
	}
	*ret = c;
	return 0;
}

/* A compressor's bug must not become a backup: see the bytes come back. */
static int check_packed(
	struct codec *c, const void *plain, size_t len, size_t packed_len)
{
	size_t n = ZSTD_decompressDCtx(
		c->decompress, c->check, len, c->packed, packed_len);

	if (ZSTD_isError(n) || n != len || memcmp(c->check, plain, len) != 0)
		return fail(EIO,
			"compression: a chunk of %zu bytes does not "
			"decompress to what it was: is the memory of "
			"this machine sound?",
			len);
	return 0;
}

void codec_trust(struct codec *c)
{
	c->trusted = true;
}

int chunk_encode(struct codec *c, const void *plain, size_t len, uint8_t *out,
	uint32_t *ret_len)
{
	size_t cap = CHUNK_BODY_MAX;
	enum codec_id id = CODEC_ZSTD;
	const void *data = c->packed;
	bson_writer_t *w;
	bson_t *b;
	size_t n;
	bool ok;

	n = ZSTD_compress2(
		c->compress, c->packed, sizeof(c->packed), plain, len);
	if (ZSTD_isError(n))
		return fail(EIO, "compression: %s", ZSTD_getErrorName(n));
	if (n > len - len / 16) {
		id = CODEC_RAW;
		data = plain;
		n = len;
	} else if (!c->trusted) {
		int r = check_packed(c, plain, len, n);

		if (r < 0)
			return r;
	}
	w = bson_writer_new(&out, &cap, 0, NULL, NULL);
	ok = bson_writer_begin(w, &b) &&
	     BSON_APPEND_INT32(b, "len", (int)len) &&
	     BSON_APPEND_INT32(b, "codec", (int)id) &&
	     BSON_APPEND_BINARY(
		     b, "data", BSON_SUBTYPE_BINARY, data, (uint32_t)n);
	bson_writer_end(w);
	*ret_len = (uint32_t)bson_writer_get_length(w);
	bson_writer_destroy(w);
	return ok ? 0 : fail(ENOMEM, "chunk: %m");
}

struct chunk_doc {
	int32_t len, codec;
	const uint8_t *data;
	uint32_t data_len;
};

static int chunk_parse(const void *body, uint32_t len, struct chunk_doc *ret)
{
	struct chunk_doc d = { .len = -1, .codec = -1 };
	bson_t b;
	bson_iter_t i;

	if (!bson_init_static(&b, body, len) || !bson_iter_init(&i, &b))
		return -EBADMSG;
	while (bson_iter_next(&i)) {
		const char *key = bson_iter_key(&i);
		bson_subtype_t sub;

		if (strcmp(key, "len") == 0 && BSON_ITER_HOLDS_INT32(&i))
			d.len = bson_iter_int32(&i);
		else if (strcmp(key, "codec") == 0 && BSON_ITER_HOLDS_INT32(&i))
			d.codec = bson_iter_int32(&i);
		else if (strcmp(key, "data") == 0 && BSON_ITER_HOLDS_BINARY(&i))
			bson_iter_binary(&i, &sub, &d.data_len, &d.data);
	}
	if (d.len < 1 || d.len > (int32_t)CHUNK_MAX || !d.data)
		return -EBADMSG;
	*ret = d;
	return 0;
}

int chunk_plain_len(const void *body, uint32_t len, uint32_t *ret)
{
	struct chunk_doc d;
	int r = chunk_parse(body, len, &d);

	if (r == 0)
		*ret = (uint32_t)d.len;
	return r;
}

static int unpack(struct codec *c, const struct chunk_doc *d, uint8_t *out)
{
	size_t n = d->data_len;

	switch (d->codec) {
	case CODEC_RAW:
		if (n != (size_t)d->len)
			return -EBADMSG;
		memcpy(out, d->data, n);
		return 0;
	case CODEC_ZSTD:
		n = ZSTD_decompressDCtx(
			c->decompress, out, (size_t)d->len, d->data, n);
		return ZSTD_isError(n) || n != (size_t)d->len ? -EBADMSG : 0;
	default:
		return -EBADMSG;
	}
}

int chunk_decode(struct codec *c, const struct digest *want, const void *body,
	uint32_t len, uint8_t *out, uint32_t *ret_len)
{
	char hex[DIGEST_HEX];
	struct chunk_doc d;
	struct digest got;

	if (chunk_parse(body, len, &d) < 0)
		return fail(EBADMSG, "chunk %.16s…: not a chunk document",
			digest_hex(want, hex));
	if (unpack(c, &d, out) < 0)
		return fail(EBADMSG, "chunk %.16s…: does not decompress",
			digest_hex(want, hex));
	got = digest_of(out, (size_t)d.len);
	if (!digest_eq(&got, want))
		return fail(EBADMSG, "chunk %.16s…: digest differs (%d bytes)",
			digest_hex(want, hex), d.len);
	*ret_len = (uint32_t)d.len;
	return 0;
}

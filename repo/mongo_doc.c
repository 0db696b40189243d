/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/mongo_doc.h"

#include <xxhash.h>

#include "repo/store_ops.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/log_many.h"
#include "src/text.h"

static bool is_text(enum coll c)
{
	return c == COLL_META || c == COLL_MACHINES;
}

void mongo_id_append(
	bson_t *b, const char *name, enum coll c, const struct key *key)
{
	char hex[2 * KEY_MAX + 1];

	if (mongo_is_content(c))
		bson_append_binary(
			b, name, -1, BSON_SUBTYPE_BINARY, key->b, key->len);
	else if (is_text(c))
		bson_append_utf8(b, name, -1, (const char *)key->b, key->len);
	else
		bson_append_utf8(b, name, -1, hex_encode(key->b, key->len, hex),
			2 * key->len);
}

void mongo_bound_append(bson_t *b, const char *name, enum coll c,
	const struct key *key, bool above, unsigned len)
{
	/* behind all digits, and behind all that names are made of */
	char text[2 * KEY_MAX + 2];
	struct key k = *key;

	if (mongo_is_content(c)) {
		for (; k.len < len; k.len++)
			k.b[k.len] = above ? 0xff : 0;
		mongo_id_append(b, name, c, &k);
		return;
	}
	if (is_text(c)) {
		memcpy(text, k.b, k.len);
		text[k.len] = 0;
	} else {
		hex_encode(k.b, k.len, text);
	}
	if (above)
		/* NOLINTNEXTLINE(clang-analyzer-security.insecureAPI.strcpy) */
		strcat(text, "~");
	bson_append_utf8(b, name, -1, text, -1);
}

static uint64_t checksum(const struct doc *d)
{
	uint8_t b[1 + KEY_MAX + 16];
	uint8_t *p = b;

	*p++ = (uint8_t)d->coll;
	memcpy(p, d->key.b, d->key.len);
	p += d->key.len;
	put_le64(p, d->version);
	put_le64(p + 8, d->generation);
	return XXH3_64bits_withSeed(
		d->body, d->len, XXH3_64bits(b, (size_t)(p + 16 - b)));
}

static bool is_bson(const struct doc *d, bson_t *ret)
{
	return d->len >= 5 && bson_init_static(ret, d->body, d->len) &&
	       bson_validate(ret, BSON_VALIDATE_UTF8, NULL);
}

void mongo_doc_encode(const struct doc *d, uint64_t by, bson_t *b)
{
	bson_t body;

	bson_init(b);
	mongo_id_append(b, "_id", d->coll, &d->key);
	BSON_APPEND_INT64(b, "v", (int64_t)d->version);
	BSON_APPEND_INT64(b, "g", (int64_t)d->generation);
	BSON_APPEND_INT32(b, "n", (int32_t)d->len);
	BSON_APPEND_INT64(b, "x", (int64_t)checksum(d));
	if (!mongo_is_content(d->coll))
		BSON_APPEND_INT64(b, "by", (int64_t)by);
	if (is_bson(d, &body))
		BSON_APPEND_DOCUMENT(b, "doc", &body);
	else
		BSON_APPEND_BINARY(
			b, "bin", BSON_SUBTYPE_BINARY, d->body, d->len);
}

static bool key_decode(const char *text, uint32_t n, struct key *ret)
{
	if (n % 2 || n / 2 < 1 || n / 2 > KEY_MAX)
		return false;
	ret->len = (uint8_t)(n / 2);
	return hex_decode(text, ret->b, ret->len);
}

static bool decode_id(const bson_iter_t *it, enum coll c, struct key *ret)
{
	const uint8_t *data;
	uint32_t n;

	if (mongo_is_content(c)) {
		if (!BSON_ITER_HOLDS_BINARY(it))
			return false;
		bson_iter_binary(it, NULL, &n, &data);
	} else {
		if (!BSON_ITER_HOLDS_UTF8(it))
			return false;
		data = (const uint8_t *)bson_iter_utf8(it, &n);
		if (!is_text(c))
			return key_decode((const char *)data, n, ret);
	}
	if (n < 1 || n > KEY_MAX)
		return false;
	*ret = key_of(data, n);
	return true;
}

static bool decode_body(const bson_iter_t *it, struct doc *d)
{
	const uint8_t *data;

	if (BSON_ITER_HOLDS_BINARY(it))
		bson_iter_binary(it, NULL, &d->len, &data);
	else if (BSON_ITER_HOLDS_DOCUMENT(it))
		bson_iter_document(it, &d->len, &data);
	else
		return false;
	d->body = data;
	return d->len <= DOC_MAX;
}

struct fields {
	bool id, v, g, n, x, body;
	uint64_t sum;
	int64_t len;
};

static bool decode_number(const bson_iter_t *it, uint64_t *ret)
{
	if (!BSON_ITER_HOLDS_INT64(it))
		return false;
	*ret = (uint64_t)bson_iter_int64(it);
	return true;
}

static bool decode_field(const bson_iter_t *it, enum coll c,
	struct mongo_row *row, struct fields *f)
{
	const char *name = bson_iter_key(it);

	if (strcmp(name, "_id") == 0)
		return f->id = decode_id(it, c, &row->doc.key);
	if (strcmp(name, "v") == 0)
		return f->v = decode_number(it, &row->doc.version);
	if (strcmp(name, "g") == 0)
		return f->g = decode_number(it, &row->doc.generation);
	if (strcmp(name, "x") == 0)
		return f->x = decode_number(it, &f->sum);
	if (strcmp(name, "by") == 0)
		return decode_number(it, &row->by);
	if (strcmp(name, "n") == 0) {
		f->len = BSON_ITER_HOLDS_INT32(it) ? bson_iter_int32(it) : -1;
		return f->n = f->len >= 0;
	}
	if (strcmp(name, "doc") == 0 || strcmp(name, "bin") == 0)
		return f->body = decode_body(it, &row->doc);
	return true;
}

static int damaged(enum coll c, const struct fields *f, const struct key *key)
{
	static struct log_many many = { .what = "damaged documents" };
	char text[DOC_NAME];

	if (!f->id)
		return fail(EBADMSG, "%s: a document has no valid key",
			coll_name(c));
	return fail_many(&many, EBADMSG, "%s: fails its checksum",
		doc_name(c, key, text));
}

int mongo_doc_decode(
	const bson_t *b, enum coll c, bool keys, struct mongo_row *ret)
{
	struct mongo_row row = { .doc.coll = c };
	struct fields f = { 0 };
	bson_iter_t it;
	bool good = bson_iter_init(&it, b);

	while (good && bson_iter_next(&it))
		good = decode_field(&it, c, &row, &f);
	good = good && f.id && f.v && f.g && f.n;
	if (good && keys)
		row.doc.len = (uint32_t)f.len;
	else if (good)
		good = f.body && f.x && row.doc.len == f.len &&
		       checksum(&row.doc) == f.sum;
	*ret = row;
	return good ? 0 : damaged(c, &f, &row.doc.key);
}

int mongo_doc_decode_key(const bson_t *b, enum coll c, struct key *ret)
{
	bson_iter_t it;
	struct fields f = { 0 };

	if (bson_iter_init_find(&it, b, "_id") && decode_id(&it, c, ret))
		return 0;
	return damaged(c, &f, NULL);
}

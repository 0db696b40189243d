/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/decode.h"

#include <errno.h>
#include <string.h>

#include "src/log.h"

static void spoil(struct decode *in, const char *field)
{
	if (!in->bad)
		in->field = field;
	in->bad = true;
}

void decode_spoil(struct decode *in, const char *field, int err)
{
	if (!in->bad)
		in->no_memory = err == -ENOMEM;
	spoil(in, field);
}

void decode_begin(struct decode *in, const struct doc *d)
{
	*in = (struct decode){ 0 };
	if (!bson_init_static(&in->doc, d->body, d->len)) {
		bson_init(&in->doc); /* inline and empty: nothing to free */
		spoil(in, "(the document)");
	}
}

void decode_sub(struct decode *in, bson_iter_t *document)
{
	const uint8_t *data = NULL;
	uint32_t len = 0;

	*in = (struct decode){ 0 };
	if (BSON_ITER_HOLDS_DOCUMENT(document))
		bson_iter_document(document, &len, &data);
	if (!data || !bson_init_static(&in->doc, data, len)) {
		bson_init(&in->doc);
		spoil(in, "(an embedded document)");
	}
}

static bool find(struct decode *in, const char *field, bson_iter_t *ret)
{
	if (in->bad)
		return false;
	if (bson_iter_init_find(ret, &in->doc, field))
		return true;
	spoil(in, field);
	return false;
}

int64_t decode_i64(
	struct decode *in, const char *field, int64_t min, int64_t max)
{
	bson_iter_t i;
	int64_t v;

	if (!find(in, field, &i))
		return min;
	if (!BSON_ITER_HOLDS_INT64(&i) && !BSON_ITER_HOLDS_INT32(&i)) {
		spoil(in, field);
		return min;
	}
	v = bson_iter_as_int64(&i);
	if (v < min || v > max) {
		spoil(in, field);
		return min;
	}
	return v;
}

int32_t decode_i32(
	struct decode *in, const char *field, int32_t min, int32_t max)
{
	return (int32_t)decode_i64(in, field, min, max);
}

bool decode_has(struct decode *in, const char *field)
{
	bson_iter_t i;

	return !in->bad && bson_iter_init_find(&i, &in->doc, field);
}

bool decode_bool(struct decode *in, const char *field)
{
	bson_iter_t i;

	return !in->bad && bson_iter_init_find(&i, &in->doc, field) &&
	       BSON_ITER_HOLDS_BOOL(&i) && bson_iter_bool(&i);
}

char *decode_text(struct decode *in, const char *field)
{
	bson_iter_t i;
	uint32_t len;
	const char *text;
	char *copy;

	if (!find(in, field, &i))
		return NULL;
	text = BSON_ITER_HOLDS_UTF8(&i) ? bson_iter_utf8(&i, &len) : NULL;
	if (!text || strlen(text) != len) {
		spoil(in, field);
		return NULL;
	}
	copy = strdup(text);
	if (!copy)
		decode_spoil(in, field, -ENOMEM);
	return copy;
}

void decode_bytes(struct decode *in, const char *field, void *ret, uint32_t len)
{
	const uint8_t *data = NULL;
	bson_subtype_t sub;
	uint32_t n = 0;
	bson_iter_t i;

	if (!find(in, field, &i))
		return;
	if (BSON_ITER_HOLDS_BINARY(&i))
		bson_iter_binary(&i, &sub, &n, &data);
	if (!data || n != len)
		spoil(in, field);
	else
		memcpy(ret, data, len);
}

bool decode_array(struct decode *in, const char *field, bson_iter_t *ret)
{
	bson_iter_t i;

	if (!find(in, field, &i))
		return false;
	if (BSON_ITER_HOLDS_ARRAY(&i) && bson_iter_recurse(&i, ret))
		return true;
	spoil(in, field);
	return false;
}

int decode_error(const struct decode *in)
{
	return !in->bad ? 0 : in->no_memory ? -ENOMEM : -EBADMSG;
}

int decode_end(struct decode *in, const char *what)
{
	if (!in->bad)
		return 0;
	if (in->no_memory)
		return fail(ENOMEM, "%s: %m", what);
	return fail(EBADMSG, "%s: damaged document: field %s", what, in->field);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/condemned.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "repo/decode.h"
#include "src/log.h"

enum { CONDEMNED = 1, SWEEPING = 2 };

int condemned_decode(const struct doc *doc, struct condemned *ret)
{
	struct condemned c = { .version = doc->version,
		.generation = doc->generation };
	struct decode in;
	int err;

	if (doc->key.len != sizeof(c.digest.b))
		return fail(EBADMSG, "condemned: a damaged key");
	memcpy(c.digest.b, doc->key.b, sizeof(c.digest.b));
	decode_begin(&in, doc);
	c.sweeping = decode_i32(&in, "state", CONDEMNED, SWEEPING) == SWEEPING;
	c.coll = (enum coll)decode_i32(&in, "coll", COLL_CHUNKS, COLL_MAPS);
	c.incarnation =
		(uint64_t)decode_i64(&in, "incarnation", INT64_MIN, INT64_MAX);
	err = decode_end(&in, "condemned");
	if (err == 0)
		*ret = c;
	return err;
}

int condemned_get(struct repo *r, const struct digest *d, struct condemned *ret)
{
	struct key key = key_of(d->b, sizeof(d->b));
	struct doc doc;
	int err = store_get(r->store, COLL_CONDEMNED, &key, &doc);

	if (err < 0)
		return err;
	err = condemned_decode(&doc, ret);
	doc_fini(&doc);
	return err;
}

int condemned_finish(struct repo *r, const struct condemned *c)
{
	struct key key = key_of(c->digest.b, sizeof(c->digest.b));
	int err = store_remove(r->store, c->coll, &key, c->incarnation);

	if (err < 0 && err != -ENOENT && err != -ESTALE)
		return err;
	err = store_remove(r->store, COLL_CONDEMNED, &key, c->version);
	return err == -ENOENT || err == -ESTALE ? 0 : err;
}

struct doc condemned_doc(const struct condemned *c, uint8_t buf[CONDEMNED_LEN])
{
	bson_t b = BSON_INITIALIZER;
	struct doc d = { .coll = COLL_CONDEMNED,
		.key = key_of(c->digest.b, sizeof(c->digest.b)),
		.version = c->version,
		.generation = c->generation,
		.body = buf };

	BSON_APPEND_INT32(&b, "state", c->sweeping ? SWEEPING : CONDEMNED);
	BSON_APPEND_INT32(&b, "coll", (int32_t)c->coll);
	BSON_APPEND_INT64(&b, "incarnation", (int64_t)c->incarnation);
	assert(b.len <= CONDEMNED_LEN);
	d.len = b.len;
	memcpy(buf, bson_get_data(&b), b.len);
	bson_destroy(&b);
	return d;
}

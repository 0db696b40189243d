/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/stamps.h"

#include <bson/bson.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "repo/decode.h"
#include "src/bytes.h"
#include "src/log.h"

static struct key stamps_key(void)
{
	return key_of("verified", 8);
}

/* Of a document that cannot be read, so that the next times can replace it. */
static uint64_t find_version(struct repo *r)
{
	struct key key = stamps_key();
	struct doc head;

	if (store_head_many(r->store, COLL_META, &key, 1, &head) < 0 ||
		head.key.len == 0)
		return 0;
	return head.version;
}

/* *ret_version is 0 if there is no document. -EBADMSG: the rest is set, too. */
static int load(struct repo *r, struct stamps *ret, uint64_t *ret_version)
{
	struct key key = stamps_key();
	uint8_t times[8 * STAMPS] = { 0 };
	struct decode in;
	struct doc d;
	int err = store_get(r->store, COLL_META, &key, &d);

	*ret_version = 0;
	memset(ret, 0, sizeof(*ret));
	if (err == -EBADMSG)
		*ret_version = find_version(r);
	if (err < 0)
		return err == -ENOENT ? 0 : err;
	decode_begin(&in, &d);
	decode_bytes(&in, "times", times, sizeof(times));
	*ret_version = d.version;
	err = decode_end(&in, "stamps of verify");
	doc_fini(&d);
	for (unsigned i = 0; err == 0 && i < STAMPS; i++)
		ret->time[i] = (int64_t)get_le64(times + 8 * (size_t)i);
	return err;
}

int stamps_load(struct repo *r, struct stamps *ret)
{
	uint64_t version;

	return load(r, ret, &version);
}

int stamps_save(struct repo *r, const struct stamps *s)
{
	uint8_t times[8 * STAMPS];
	int err;

	do {
		bson_t b = BSON_INITIALIZER;
		struct stamps all;
		uint64_t version;
		struct doc d;

		err = load(r, &all, &version);
		if (err == -EBADMSG && version)
			err = 0;
		for (unsigned i = 0; i < STAMPS; i++)
			put_le64(times + 8 * (size_t)i,
				(uint64_t)(s->time[i] ? s->time[i]
						      : all.time[i]));
		BSON_APPEND_BINARY(
			&b, "times", BSON_SUBTYPE_BINARY, times, sizeof(times));
		d = (struct doc){ .coll = COLL_META,
			.key = stamps_key(),
			.version = version + 1,
			.body = bson_get_data(&b),
			.len = b.len };
		if (err == 0)
			err = version ? store_replace(r->store, &d, version)
				      : store_insert(r->store, &d);
		bson_destroy(&b);
	} while (err == -ESTALE || err == -EEXIST);
	return err;
}

static int by_time(const void *pa, const void *pb, void *times)
{
	uint8_t a = *(const uint8_t *)pa, b = *(const uint8_t *)pb;
	const int64_t *t = times;

	if (t[a] != t[b])
		return t[a] < t[b] ? -1 : 1;
	return a < b ? -1 : 1;
}

unsigned stamps_choose(const struct stamps *s, int64_t before, unsigned max,
	uint8_t ret[STAMPS])
{
	unsigned n = 0;

	for (unsigned i = 0; i < STAMPS; i++)
		if (before == 0 || s->time[i] < before)
			ret[n++] = (uint8_t)i;
	qsort_r(ret, n, 1, by_time, (void *)(uintptr_t)s->time);
	return n < max ? n : max;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be where a point goes: nothing yet, a fence, a point or a tombstone.
 * Every change here is of the version that was seen.
 */
#include <bson/bson.h>
#include <errno.h>
#include <time.h>

#include "repo/decode.h"
#include "repo/point.h"

/* END is that of the point that was there, 0 if there was none. */
static int put_tombstone(struct repo *r, const struct point_id *id,
	uint64_t old_version, int64_t end)
{
	bson_t b = BSON_INITIALIZER;
	struct doc d;
	int err;

	BSON_APPEND_BOOL(&b, "tombstone", true);
	BSON_APPEND_INT64(&b, "time", time(NULL));
	if (end)
		BSON_APPEND_INT64(&b, "end", end);
	d = (struct doc){ .coll = COLL_POINTS,
		.key = point_key(id),
		.version = old_version + 1,
		.body = bson_get_data(&b),
		.len = b.len };
	err = old_version ? store_replace(r->store, &d, old_version)
			  : store_insert(r->store, &d);
	bson_destroy(&b);
	return err;
}

int point_forbid(struct repo *r, const struct point_id *id)
{
	struct point p;
	int err = put_tombstone(r, id, 0, 0);

	if (err != -EEXIST)
		return err;
	err = point_read(r, id, &p);
	if (err < 0)
		return err == -ENOENT ? 0 : err == -EBADMSG ? -EEXIST : err;
	point_fini(&p);
	return -EEXIST;
}

int point_place(
	struct repo *r, const struct point_id *id, struct point_place *ret)
{
	struct key key = point_key(id);
	struct point_place p = { .state = POINT_NONE };
	struct decode in;
	struct doc d;
	int err = store_get(r->store, COLL_POINTS, &key, &d);

	if (err == 0) {
		decode_begin(&in, &d);
		p.version = d.version;
		p.state = decode_bool(&in, "tombstone") ? POINT_TOMBSTONE
			  : decode_bool(&in, "fenced")  ? POINT_FENCED
							: POINT_WHOLE;
		doc_fini(&d);
	}
	if (err < 0 && err != -ENOENT)
		return err;
	*ret = p;
	return 0;
}

/* The place's version counts up, so that nobody swaps the one it had. */
int point_fence(struct repo *r, const struct point_id *id, uint64_t version)
{
	bson_t b = BSON_INITIALIZER;
	struct doc d;
	int err;

	BSON_APPEND_BOOL(&b, "fenced", true);
	BSON_APPEND_INT64(&b, "time", time(NULL));
	d = (struct doc){ .coll = COLL_POINTS,
		.key = point_key(id),
		.version = version + 1,
		.body = bson_get_data(&b),
		.len = b.len };
	err = version ? store_replace(r->store, &d, version)
		      : store_insert(r->store, &d);
	bson_destroy(&b);
	return err == -EEXIST || err == -ESTALE || err == -ENOENT ? 0 : err;
}

/*
 * What a damaged document's version is, its record does not say: 1, but of a
 * point that was copied into a place where another copy had been given up.
 */
static int bury_damaged(struct repo *r, const struct point_id *id)
{
	int err = -ESTALE;

	for (uint64_t version = 1; err == -ESTALE && version < 8; version++)
		err = put_tombstone(r, id, version, 0);
	return err == -ESTALE ? 0 : err;
}

/* A damaged one is buried, too. */
int point_bury(struct repo *r, const struct point_id *id)
{
	struct point_place place;
	struct point p = { 0 };
	int err = point_place(r, id, &place);
	int64_t end;

	if (err == -EBADMSG)
		return bury_damaged(r, id);
	if (err < 0 || place.state != POINT_WHOLE)
		return err;
	err = point_read(r, id, &p);
	end = err == 0 ? p.end : 0;
	point_fini(&p);
	if (err < 0 && err != -ENOENT && err != -EBADMSG)
		return err;
	err = put_tombstone(r, id, place.version, end);
	return err == -ESTALE ? 0 : err;
}

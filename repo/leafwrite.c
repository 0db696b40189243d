/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/leafwrite.h"

#include <errno.h>
#include <string.h>

#include "repo/fetch.h"
#include "src/log.h"

struct leaf_writer {
	struct leaf_writer_params params;
	struct codec *codec;
	struct batch *batch;
	struct leaf base;
	uint8_t packed[MAP_PACKED_MAX];
	uint8_t scratch[CHUNK_BODY_MAX]; /* dry run: bodies go nowhere */

	/* what the leaf names and the base does not */
	size_t n_unknown;
	const struct leaf_extent *unknown[LEAF_EXTENTS_MAX];
	struct key keys[LEAF_EXTENTS_MAX];
	bool exists[LEAF_EXTENTS_MAX];
};

int leaf_writer_new(
	const struct leaf_writer_params *params, struct leaf_writer **ret)
{
	struct leaf_writer *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return fail(ENOMEM, "backup: %m");
	w->params = *params;
	err = codec_new(params->repo->level, &w->codec);
	if (err == 0 && params->no_check)
		codec_trust(w->codec);
	if (err == 0 && params->writer)
		err = batch_new(params->repo, writer_generation(params->writer),
			params->batch_len, &w->batch);
	if (err < 0)
		leaf_writer_free(w);
	else
		*ret = w;
	return err;
}

void leaf_writer_free(struct leaf_writer *w)
{
	if (w->batch)
		batch_free(w->batch);
	if (w->codec)
		codec_free(w->codec);
	free(w);
}

struct batch *leaf_writer_batch(struct leaf_writer *w)
{
	return w->batch;
}

static bool base_has(const struct leaf_writer *w, const struct digest *d)
{
	for (uint32_t i = 0; i < w->base.n; i++)
		if (w->base.v[i].kind == BLK_DATA &&
			digest_eq(&w->base.v[i].chunk, d))
			return !quarantine_has(w->params.quarantine, d);
	return false;
}

/*
 * What the parent's leaf names is reached by a point that was listed after we
 * registered: it needs no look-up.
 */
static void list_unknown(struct leaf_writer *w, const struct leaf *leaf,
	const struct digest *base)
{
	uint32_t len;

	w->base.n = 0;
	if (!digest_is_none(base) &&
		(map_load(w->params.repo, base, 0, w->packed, &len) < 0 ||
			leaf_unpack(w->packed, len, &w->base) < 0))
		w->base.n = 0;
	w->n_unknown = 0;
	for (uint32_t i = 0; i < leaf->n; i++) {
		const struct leaf_extent *e = &leaf->v[i];

		if (e->kind == BLK_DATA && !base_has(w, &e->chunk))
			w->unknown[w->n_unknown++] = e;
	}
}

/* Looked up among the condemned first, then asked for: never the other way. */
static int ask(struct leaf_writer *w)
{
	for (size_t i = 0; i < w->n_unknown; i++) {
		const struct digest *d = &w->unknown[i]->chunk;
		int err = w->params.writer ? writer_rely(w->params.writer, d, 1)
					   : 0;

		if (err < 0)
			return err;
		w->keys[i] = key_of(d->b, sizeof(d->b));
	}
	return store_exists_many(w->params.repo->store, COLL_CHUNKS, w->keys,
		w->n_unknown, w->exists);
}

static int store_chunk(struct leaf_writer *w, const struct leaf_extent *e,
	const uint8_t *plain, struct leaf_result *r)
{
	uint8_t *room = w->scratch;
	uint32_t len;
	int err = 0;

	if (w->batch && batch_has(w->batch, COLL_CHUNKS, &e->chunk))
		return 0;
	if (w->batch)
		err = batch_room(w->batch, CHUNK_BODY_MAX, &room);
	if (err == 0)
		err = chunk_encode(w->codec, plain, e->len, room, &len);
	if (err < 0)
		return err;
	if (w->batch)
		return batch_add(w->batch, COLL_CHUNKS, &e->chunk, len, e->len);
	r->fresh += e->len;
	r->stored += len;
	return 0;
}

static int store_leaf(
	struct leaf_writer *w, const struct leaf *leaf, const struct digest *d)
{
	uint8_t *room;
	uint32_t len;
	int err;

	if (!w->batch)
		return 0;
	err = writer_rely(w->params.writer, d, 1);
	if (err == 0)
		err = batch_room(w->batch, MAP_PACKED_MAX + 64, &room);
	if (err < 0)
		return err;
	len = leaf_pack(leaf, w->packed);
	return batch_add(
		w->batch, COLL_MAPS, d, map_body(w->packed, len, room), 0);
}

static bool leaf_quarantined(const struct leaf_writer *w,
	const struct leaf *leaf, const struct digest *d)
{
	const struct quarantine *q = w->params.quarantine;

	if (q->n == 0)
		return false;
	for (uint32_t i = 0; i < leaf->n; i++)
		if (leaf->v[i].kind == BLK_DATA &&
			quarantine_has(q, &leaf->v[i].chunk))
			return true;
	return quarantine_has(q, d);
}

int leaf_write(struct leaf_writer *w, const struct leaf *leaf,
	const struct digest *base, const uint8_t *bytes,
	struct leaf_result *ret)
{
	struct leaf_result r = { 0 };
	uint32_t len = leaf_pack(leaf, w->packed);
	int err = 0;

	if (len)
		r.digest = digest_of(w->packed, len);
	r.changed = !digest_eq(&r.digest, base);
	if (len && (r.changed || leaf_quarantined(w, leaf, &r.digest))) {
		list_unknown(w, leaf, base);
		err = ask(w);
		for (size_t i = 0; err == 0 && i < w->n_unknown; i++)
			if (!w->exists[i])
				err = store_chunk(w, w->unknown[i],
					bytes + w->unknown[i]->off, &r);
		if (err == 0)
			err = store_leaf(w, leaf, &r.digest);
	}
	if (err == 0)
		*ret = r;
	return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/fetch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "repo/quarantine.h"
#include "src/log.h"
#include "src/log_many.h"

static_assert(CHUNK_MAX >= MAP_PACKED_MAX, "a fetcher has room for either");

const char *fetch_noun(enum coll coll)
{
	return coll == COLL_MAPS ? "map" : "chunk";
}

int fetcher_new(struct repo *r, struct fetcher **ret)
{
	scoped(fetcher_freep) struct fetcher *f = malloc(sizeof(*f));
	int err;

	if (!f)
		return fail(ENOMEM, "reading: %m");
	f->next = NULL;
	f->codec = NULL;
	err = codec_new(r->level, &f->codec);
	if (err < 0)
		return err;
	*ret = take(f);
	return 0;
}

void fetcher_free(struct fetcher *f)
{
	if (f->codec)
		codec_free(f->codec);
	free(f);
}

static bool is_map(const uint8_t *packed, uint32_t len, unsigned level)
{
	if (level != FETCH_ANY_LEVEL)
		return map_check(packed, len, level) == 0;
	for (level = 0; level < MAP_LEVELS_MAX; level++)
		if (map_check(packed, len, level) == 0)
			return true;
	return false;
}

static int map_decode(const struct digest *want, unsigned level,
	const struct doc *doc, uint8_t *out, uint32_t *ret_len)
{
	char hex[DIGEST_HEX];
	const uint8_t *packed;
	struct digest got;
	uint32_t len;

	if (map_unwrap(doc->body, doc->len, &packed, &len) < 0 ||
		len > MAP_PACKED_MAX)
		return fail(EBADMSG, "map %.16s…: not a map document",
			digest_hex(want, hex));
	got = digest_of(packed, len);
	if (!digest_eq(&got, want))
		return fail(EBADMSG, "map %.16s…: digest differs (%u bytes)",
			digest_hex(want, hex), len);
	/* only here can its integers be wrong with a digest that is right */
	if (!is_map(packed, len, level))
		return fail(EBADMSG,
			"map %.16s…: not a map, or not of level %u",
			digest_hex(want, hex), level);
	memcpy(out, packed, len);
	*ret_len = len;
	return 0;
}

int fetcher_decode(struct fetcher *f, const struct digest *want, unsigned level,
	const struct doc *doc, uint32_t *ret_len)
{
	if (doc->coll == COLL_MAPS)
		return map_decode(want, level, doc, f->plain, ret_len);
	return chunk_decode(
		f->codec, want, doc->body, doc->len, f->plain, ret_len);
}

static int get_doc(struct repo *r, enum coll coll, const struct digest *want,
	struct doc *ret)
{
	static struct log_many missing = { .what = "missing documents" };
	struct key key = key_of(want->b, sizeof(want->b));
	char hex[DIGEST_HEX];
	int err = store_get(r->store, coll, &key, ret);

	if (err == -ENOENT)
		return fail_many(&missing, ENOENT, "%s %.16s…: %s",
			fetch_noun(coll), digest_hex(want, hex),
			quarantine_was_damaged(r, want)
				? "was damaged and is set aside, until a "
				  "backup of the same bytes stores it anew"
				: "missing from the repository");
	return err;
}

int fetcher_get(struct fetcher *f, struct repo *r, enum coll coll,
	const struct digest *want, unsigned level, uint32_t *ret_len)
{
	struct doc doc;
	int err = get_doc(r, coll, want, &doc);

	if (err < 0)
		return err;
	err = fetcher_decode(f, want, level, &doc, ret_len);
	doc_fini(&doc);
	return err;
}

int map_load(struct repo *r, const struct digest *want, unsigned level,
	uint8_t out[MAP_PACKED_MAX], uint32_t *ret_len)
{
	struct doc doc;
	int err = get_doc(r, COLL_MAPS, want, &doc);

	if (err < 0)
		return err;
	err = map_decode(want, level, &doc, out, ret_len);
	doc_fini(&doc);
	return err;
}

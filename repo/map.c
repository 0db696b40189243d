/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed leaf:  'L', 1, u16 n | n x u16: kind << 14 | len / 512 - 1 |
 *               the digests of the data extents, in order
 * Packed node:  'N', level, u16 n | 256 bits, bit i of byte i / 8 for child i |
 *               the n digests of the children that are there, in order
 * Little-endian. repo/FORMAT.md is normative.
 */
#include "repo/map.h"

#include <assert.h>
#include <bson/bson.h>
#include <errno.h>
#include <string.h>

#include "src/bytes.h"

#define HEAD 4u
#define UNIT 512u
#define LEAF_VERSION 1
#define KIND_SHIFT 14
#define LEN_MASK 0x3fffu
#define BITMAP (MAP_FAN / 8)

static_assert(BLK_DATA == 0 && BLK_ZERO == 1 && BLK_LOST == 2,
	"these numbers are on disk");

unsigned map_root_level(uint64_t size)
{
	uint64_t windows = size / WINDOW_LEN + (size % WINDOW_LEN != 0);
	uint64_t covers = 1;
	unsigned level = 0;

	for (; covers < windows; covers *= MAP_FAN)
		level++;
	return level;
}

void leaf_add(struct leaf *l, uint32_t len, enum blk_kind kind,
	const struct digest *chunk)
{
	struct leaf_extent *last = l->n ? &l->v[l->n - 1] : NULL;
	uint32_t off = last ? last->off + last->len : 0;

	assert(len > 0 && len % UNIT == 0 && off + len <= WINDOW_LEN);
	if (last && last->kind == kind && kind != BLK_DATA) {
		last->len += len;
		return;
	}
	assert(l->n < LEAF_EXTENTS_MAX);
	l->v[l->n] =
		(struct leaf_extent){ .off = off, .len = len, .kind = kind };
	if (chunk)
		l->v[l->n].chunk = *chunk;
	l->n++;
}

uint32_t leaf_pack(const struct leaf *l, uint8_t out[MAP_PACKED_MAX])
{
	uint32_t n = l->n;
	uint8_t *digests;

	while (n && l->v[n - 1].kind == BLK_ZERO)
		n--;
	if (n == 0)
		return 0;
	out[0] = 'L';
	out[1] = LEAF_VERSION;
	put_le16(out + 2, (uint16_t)n);
	digests = out + HEAD + 2 * n;
	for (uint32_t i = 0; i < n; i++) {
		const struct leaf_extent *e = &l->v[i];

		put_le16(out + HEAD + 2 * i,
			(uint16_t)((unsigned)e->kind << KIND_SHIFT |
				   (e->len / UNIT - 1)));
		if (e->kind == BLK_DATA) {
			memcpy(digests, e->chunk.b, sizeof(e->chunk.b));
			digests += sizeof(e->chunk.b);
		}
	}
	return (uint32_t)(digests - out);
}

static void extent_at(const uint8_t *packed, uint32_t i, uint32_t *ret_len,
	enum blk_kind *ret_kind)
{
	uint16_t v = get_le16(packed + HEAD + 2 * i);

	*ret_len = ((v & LEN_MASK) + 1u) * UNIT;
	*ret_kind = (enum blk_kind)(v >> KIND_SHIFT);
}

static int leaf_check(const uint8_t *packed, uint32_t len)
{
	uint32_t n, n_data = 0, end = 0;

	if (packed[1] != LEAF_VERSION)
		return -EBADMSG;
	n = get_le16(packed + 2);
	if (n == 0 || n > LEAF_EXTENTS_MAX || HEAD + 2 * n > len)
		return -EBADMSG;
	for (uint32_t i = 0; i < n; i++) {
		enum blk_kind kind;
		uint32_t extent;

		extent_at(packed, i, &extent, &kind);
		end += extent;
		if (kind > BLK_LOST || end > WINDOW_LEN ||
			(kind == BLK_DATA && extent > CHUNK_MAX))
			return -EBADMSG;
		n_data += kind == BLK_DATA;
	}
	return len == HEAD + 2 * n + n_data * sizeof(struct digest) ? 0
								    : -EBADMSG;
}

int leaf_unpack(const uint8_t *packed, uint32_t len, struct leaf *ret)
{
	const uint8_t *digests;
	uint32_t n;

	if (map_check(packed, len, 0) < 0)
		return -EBADMSG;
	n = get_le16(packed + 2);
	digests = packed + HEAD + 2 * n;
	ret->n = 0;
	for (uint32_t i = 0, off = 0; i < n; i++) {
		struct leaf_extent *e = &ret->v[ret->n++];

		extent_at(packed, i, &e->len, &e->kind);
		e->off = off;
		off += e->len;
		memset(&e->chunk, 0, sizeof(e->chunk));
		if (e->kind == BLK_DATA) {
			memcpy(e->chunk.b, digests, sizeof(e->chunk.b));
			digests += sizeof(e->chunk.b);
		}
	}
	return 0;
}

void leaf_find(const uint8_t *packed, uint32_t len, uint32_t within,
	struct leaf_extent *ret)
{
	uint32_t n = get_le16(packed + 2);
	uint32_t off = 0, n_data = 0;

	(void)len;
	memset(ret, 0, sizeof(*ret));
	for (uint32_t i = 0; i < n; i++) {
		extent_at(packed, i, &ret->len, &ret->kind);
		if (within < off + ret->len) {
			ret->off = off;
			if (ret->kind == BLK_DATA)
				memcpy(ret->chunk.b,
					packed + HEAD + 2 * n +
						n_data * sizeof(ret->chunk.b),
					sizeof(ret->chunk.b));
			return;
		}
		off += ret->len;
		n_data += ret->kind == BLK_DATA;
	}
	ret->off = off;
	ret->len = WINDOW_LEN - off;
	ret->kind = BLK_ZERO;
}

uint32_t node_pack(unsigned level, const struct digest child[MAP_FAN],
	uint8_t out[MAP_PACKED_MAX])
{
	uint8_t *digests = out + HEAD + BITMAP;
	uint16_t n = 0;

	memset(out, 0, HEAD + BITMAP);
	for (unsigned i = 0; i < MAP_FAN; i++) {
		if (digest_is_none(&child[i]))
			continue;
		out[HEAD + i / 8] |= (uint8_t)(1u << i % 8);
		memcpy(digests, child[i].b, sizeof(child[i].b));
		digests += sizeof(child[i].b);
		n++;
	}
	if (n == 0)
		return 0;
	out[0] = 'N';
	out[1] = (uint8_t)level;
	put_le16(out + 2, n);
	return (uint32_t)(digests - out);
}

static unsigned bits_below(const uint8_t *bitmap, unsigned end)
{
	unsigned n = 0, i = 0;

	for (; i + 64 <= end; i += 64)
		n += (unsigned)__builtin_popcountll(get_le64(bitmap + i / 8));
	if (end % 64)
		n += (unsigned)__builtin_popcountll(
			get_le64(bitmap + i / 8) &
			((UINT64_C(1) << end % 64) - 1));
	return n;
}

struct digest node_child(const uint8_t *packed, unsigned slot)
{
	const uint8_t *bitmap = packed + HEAD;
	struct digest d = { 0 };

	if (bitmap[slot / 8] & 1u << slot % 8)
		memcpy(d.b,
			bitmap + BITMAP +
				bits_below(bitmap, slot) * sizeof(d.b),
			sizeof(d.b));
	return d;
}

static int node_check(const uint8_t *packed, uint32_t len, unsigned level)
{
	uint32_t n = get_le16(packed + 2);

	if (len < HEAD + BITMAP || packed[1] != level || n == 0 ||
		bits_below(packed + HEAD, MAP_FAN) != n ||
		len != HEAD + BITMAP + n * sizeof(struct digest))
		return -EBADMSG;
	return 0;
}

int map_check(const uint8_t *packed, uint32_t len, unsigned level)
{
	if (len < HEAD || len > MAP_PACKED_MAX || level >= MAP_LEVELS_MAX ||
		packed[0] != (level ? 'N' : 'L'))
		return -EBADMSG;
	return level ? node_check(packed, len, level) : leaf_check(packed, len);
}

uint32_t map_body(
	const uint8_t *packed, uint32_t len, uint8_t out[MAP_PACKED_MAX + 64])
{
	size_t cap = MAP_PACKED_MAX + 64;
	bson_writer_t *w = bson_writer_new(&out, &cap, 0, NULL, NULL);
	uint32_t ret;
	bson_t *b;
	bool ok;

	ok = bson_writer_begin(w, &b) &&
	     BSON_APPEND_BINARY(b, "map", BSON_SUBTYPE_BINARY, packed, len);
	assert(ok); /* a fixed buffer that is large enough */
	bson_writer_end(w);
	ret = (uint32_t)bson_writer_get_length(w);
	bson_writer_destroy(w);
	return ret;
}

int map_unwrap(const void *body, uint32_t len, const uint8_t **ret_packed,
	uint32_t *ret_len)
{
	bson_subtype_t sub;
	bson_iter_t i;
	bson_t b;

	if (!bson_init_static(&b, body, len) ||
		!bson_iter_init_find(&i, &b, "map") ||
		!BSON_ITER_HOLDS_BINARY(&i))
		return -EBADMSG;
	bson_iter_binary(&i, &sub, ret_len, ret_packed);
	return *ret_packed ? 0 : -EBADMSG;
}

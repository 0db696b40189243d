/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/wrecord.h"

#include <errno.h>
#include <stdbool.h>

#include "repo/chunk.h"
#include "src/bytes.h"

/* Files of views are shorter; so no sum of two of these overflows. */
#define SIDE_END_MAX (UINT64_C(1) << 62)

void wrecord_write(const struct wrecord *r, uint8_t out[WRECORD_HEAD])
{
	memset(out, 0, WRECORD_HEAD);
	out[0x00] = r->space;
	out[0x01] = (uint8_t)r->kind;
	put_le64(out + 0x08, r->off);
	put_le64(out + 0x10, r->len);
	put_le64(out + 0x18, r->data);
}

void wrecord_extent(uint64_t off, uint64_t len, uint8_t out[WRECORD_EXTENT])
{
	put_le64(out, off);
	put_le64(out + 8, len);
}

static bool is_range(uint64_t off, uint64_t len, uint64_t size)
{
	uint64_t end = round_up(size, PAGE_LEN);

	return off % PAGE_LEN == 0 && len % PAGE_LEN == 0 && len > 0 &&
	       off < end && len <= end - off;
}

/* MORE bytes are behind the head. */
static bool has_extents(struct wrecord *r, uint32_t more, uint64_t size)
{
	r->n = more / WRECORD_EXTENT;
	if (r->off || r->len || r->n == 0 || more % WRECORD_EXTENT)
		return false;
	for (uint32_t i = 0; i < r->n; i++) {
		uint64_t off, len;

		wrecord_at(r, i, &off, &len);
		if (!is_range(off, len, size))
			return false;
	}
	return true;
}

static bool is_of_disk(struct wrecord *r, uint32_t more, uint64_t size)
{
	switch (r->kind) {
	case WRECORD_DATA:
	case WRECORD_PAGES:
		return is_range(r->off, r->len, size) &&
		       r->len <= WRECORD_PAGES_MAX * PAGE_LEN &&
		       more == r->len && r->data <= size;
	case WRECORD_ZERO:
		return is_range(r->off, r->len, size) && more == 0;
	case WRECORD_HOLES:
		return has_extents(r, more, size) && r->data <= size;
	case WRECORD_LENGTH:
	case WRECORD_FORGET:
		break;
	}
	return false;
}

static bool is_of_side(const struct wrecord *r, uint32_t more)
{
	switch (r->kind) {
	case WRECORD_DATA:
		return r->len > 0 && r->len <= WRECORD_SIDE_MAX &&
		       r->off <= SIDE_END_MAX - r->len && more == r->len;
	case WRECORD_LENGTH:
		return r->off == 0 && r->len <= SIDE_END_MAX && more == 0;
	case WRECORD_FORGET:
		return r->off == 0 && r->len == 0 && more == 0;
	case WRECORD_ZERO:
	case WRECORD_PAGES:
	case WRECORD_HOLES:
		break;
	}
	return false;
}

int wrecord_parse(const uint8_t *payload, uint32_t len, uint64_t size,
	struct wrecord *ret)
{
	struct wrecord r = { 0 };
	uint32_t more;

	if (len < WRECORD_HEAD || payload[0x01] > WRECORD_HOLES)
		return -EBADMSG;
	r.space = payload[0x00];
	r.kind = (enum wrecord_kind)payload[0x01];
	r.off = get_le64(payload + 0x08);
	r.len = get_le64(payload + 0x10);
	r.data = get_le64(payload + 0x18);
	r.extents = payload + WRECORD_HEAD;
	more = len - WRECORD_HEAD;
	if (!(r.space == WRECORD_DISK ? is_of_disk(&r, more, size)
				      : is_of_side(&r, more)))
		return -EBADMSG;
	*ret = r;
	return 0;
}

void wrecord_at(const struct wrecord *r, uint32_t i, uint64_t *ret_off,
	uint64_t *ret_len)
{
	*ret_off = get_le64(r->extents + (size_t)i * WRECORD_EXTENT);
	*ret_len = get_le64(r->extents + (size_t)i * WRECORD_EXTENT + 8);
}

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
}

static bool is_of_disk(const struct wrecord *r, uint64_t size)
{
	uint64_t end = round_up(size, PAGE_LEN);

	return r->kind <= WRECORD_ZERO && r->off % PAGE_LEN == 0 &&
	       r->len % PAGE_LEN == 0 && r->len > 0 && r->off < end &&
	       r->len <= end - r->off &&
	       (r->kind == WRECORD_ZERO ||
		       r->len <= WRECORD_PAGES_MAX * PAGE_LEN);
}

static bool is_of_side(const struct wrecord *r)
{
	switch (r->kind) {
	case WRECORD_DATA:
		return r->len > 0 && r->len <= WRECORD_SIDE_MAX &&
		       r->off <= SIDE_END_MAX - r->len;
	case WRECORD_LENGTH:
		return r->off == 0 && r->len <= SIDE_END_MAX;
	case WRECORD_FORGET:
		return r->off == 0 && r->len == 0;
	case WRECORD_ZERO:
		break;
	}
	return false;
}

int wrecord_parse(const uint8_t *payload, uint32_t len, uint64_t size,
	struct wrecord *ret)
{
	struct wrecord r;

	if (len < WRECORD_HEAD || payload[0x01] > WRECORD_FORGET)
		return -EBADMSG;
	r.space = payload[0x00];
	r.kind = (enum wrecord_kind)payload[0x01];
	r.off = get_le64(payload + 0x08);
	r.len = get_le64(payload + 0x10);
	if (!(r.space == WRECORD_DISK ? is_of_disk(&r, size)
				      : is_of_side(&r)) ||
		len - WRECORD_HEAD != (r.kind == WRECORD_DATA ? r.len : 0))
		return -EBADMSG;
	*ret = r;
	return 0;
}

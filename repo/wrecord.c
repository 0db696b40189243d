/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/wrecord.h"

#include <errno.h>

#include "repo/chunk.h"
#include "src/bytes.h"

void wrecord_write(enum wrecord_kind kind, uint64_t off, uint64_t len,
	uint8_t out[WRECORD_HEAD])
{
	memset(out, 0, WRECORD_HEAD);
	out[0x00] = 0; /* space: the disk itself */
	out[0x01] = (uint8_t)kind;
	put_le64(out + 0x08, off);
	put_le64(out + 0x10, len);
}

int wrecord_parse(const uint8_t *payload, uint32_t len, uint64_t size,
	struct wrecord *ret)
{
	uint64_t end = round_up(size, PAGE_LEN);
	struct wrecord r;

	if (len < WRECORD_HEAD || payload[0x00] != 0 ||
		payload[0x01] > WRECORD_ZERO)
		return -EBADMSG;
	r.kind = (enum wrecord_kind)payload[0x01];
	r.off = get_le64(payload + 0x08);
	r.len = get_le64(payload + 0x10);
	if (r.off % PAGE_LEN || r.len % PAGE_LEN || r.len == 0 ||
		r.off >= end || r.len > end - r.off ||
		(r.kind == WRECORD_DATA &&
			r.len > WRECORD_PAGES_MAX * PAGE_LEN) ||
		len - WRECORD_HEAD != (r.kind == WRECORD_DATA ? r.len : 0))
		return -EBADMSG;
	*ret = r;
	return 0;
}

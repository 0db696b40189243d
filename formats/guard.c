/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/guard.h"

#include <errno.h>
#include <string.h>

#include "src/bytes.h"

static int guard_range(const struct format *f, const struct layout *l,
	uint64_t from, uint64_t to, const uint8_t *bytes)
{
	static const struct identity any;
	uint8_t made[4096];

	while (from < to) {
		size_t len = MIN_OF(to - from, sizeof(made));
		int r = f->metadata(l, &any, NULL, from, len, made);

		if (r < 0)
			return r;
		if (memcmp(made, bytes, len) != 0)
			return -EIO;
		from += len;
		bytes += len;
	}
	return 0;
}

int guard(const struct format *f, const struct layout *l,
	const struct guarded *ranges, size_t n, uint64_t off, size_t len,
	const uint8_t *bytes)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		uint64_t from = MAX_OF(ranges[i].off, off);
		uint64_t to = MIN_OF(ranges[i].off + ranges[i].len, off + len);

		if (from < to)
			r = guard_range(f, l, from, to, bytes + (from - off));
	}
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard - metadata that must stay as it was made, because it says where the
 * disk's bytes are.
 */
#ifndef HIVEFS_GUARD_H
#define HIVEFS_GUARD_H

#include "formats/format.h"

struct guarded {
	uint64_t off, len;
};

/*
 * -EIO, quietly, if the LEN bytes that are to be written at OFF are others in
 * any of the N ranges than F makes. Those must not depend on the identity.
 */
int guard(const struct format *f, const struct layout *l,
	const struct guarded *ranges, size_t n, uint64_t off, size_t len,
	const uint8_t *bytes);

#endif

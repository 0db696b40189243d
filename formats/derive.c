/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/derive.h"

#include <assert.h>
#include <string.h>

#include "src/digest.h"

#define WHAT_MAX 32

struct uuid derive_uuid(const struct identity *id, const char *what)
{
	uint8_t b[sizeof(id->id) + WHAT_MAX];
	size_t len = strlen(what);
	struct digest d;
	struct uuid ret;

	assert(len <= WHAT_MAX);
	memcpy(b, id->id.b, sizeof(id->id));
	memcpy(b + sizeof(id->id), what, len);
	d = digest_of(b, sizeof(id->id) + len);
	memcpy(ret.b, d.b, sizeof(ret.b));
	/* version 8, "of a kind of its own", of RFC 9562 */
	ret.b[6] = (uint8_t)(0x80 | (ret.b[6] & 0x0f));
	ret.b[8] = (uint8_t)(0x80 | (ret.b[8] & 0x3f));
	return ret;
}

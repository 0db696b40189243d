/* SPDX-License-Identifier: Apache-2.0 */
#include "src/uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "src/text.h"

static void random_bytes(void *buf, size_t len)
{
	/* up to 256 bytes never come short, and fail only without a kernel */
	if (getrandom(buf, len, 0) != (ssize_t)len)
		abort();
}

struct uuid uuid_random(void)
{
	struct uuid u;

	random_bytes(&u, sizeof(u));
	u.b[6] = (uint8_t)((u.b[6] & 0x0f) | 0x40);
	u.b[8] = (uint8_t)((u.b[8] & 0x3f) | 0x80);
	return u;
}

uint64_t random_u64(void)
{
	uint64_t v;

	do
		random_bytes(&v, sizeof(v));
	while (v == 0);
	return v;
}

char *uuid_text(const struct uuid *u, char buf[UUID_TEXT])
{
	char hex[33];

	hex_encode(u->b, sizeof(u->b), hex);
	snprintf(buf, UUID_TEXT, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8,
		hex + 12, hex + 16, hex + 20);
	return buf;
}

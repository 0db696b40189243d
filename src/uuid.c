/* SPDX-License-Identifier: Apache-2.0 */
#include "src/uuid.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/text.h"

/* A system call for each document would be 1 % of a backup. It sees forks. */
static void random_bytes(void *buf, size_t len)
{
	if (RAND_bytes(buf, (int)len) != 1)
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

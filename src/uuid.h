/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uuid - 16 random bytes that name a repository, a machine or a writer.
 *
 * Threads    any thread.
 */
#ifndef HIVEFS_UUID_H
#define HIVEFS_UUID_H

#include <stdint.h>

struct uuid {
	uint8_t b[16];
};

/* "01234567-89ab-4cde-8f01-23456789abcd" and the terminating zero */
#define UUID_TEXT 37

/* A random (version 4) one, from OpenSSL, which the kernel seeds. */
struct uuid uuid_random(void);

/* 64 random bits, never 0: incarnations. */
uint64_t random_u64(void);

char *uuid_text(const struct uuid *u, char buf[UUID_TEXT]);

#endif

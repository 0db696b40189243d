/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text - what people read and type: hexadecimal, sizes, times, names.
 *
 * Threads    any thread.
 */
#ifndef HIVEFS_TEXT_H
#define HIVEFS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes 2 * len digits and a zero to BUF; returns BUF. */
char *hex_encode(const void *data, size_t len, char *buf);

/* Back again: false unless TEXT begins with 2 * len digits in lower case. */
bool hex_decode(const char *text, void *ret, size_t len);

/* "1.5 GiB": three significant digits, binary units. BUF holds 16. */
char *size_text(uint64_t bytes, char buf[16]);

/* "512", "64K", "1.5GiB", "2T": bytes. -EINVAL quietly if it is none. */
int size_parse(const char *text, uint64_t *ret);

/* "90s", "15m", "36h", "30d", "8w", "7y": seconds. -EINVAL quietly. */
int duration_parse(const char *text, int64_t *ret);

/* "2026-11-20T08:42:45Z"; BUF holds 32. Seconds since 1970, UTC. */
char *time_text(int64_t seconds, char buf[32]);

/* The same as a file name, without colons: "2026-11-20T084245Z". */
char *time_name(int64_t seconds, char buf[32]);

/* "1 point", "2 points": what follows the noun of N things. */
static inline const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* Puts `?` for what moves a terminal's cursor or worse: control characters. */
void text_clean(char *text);

/*
 * Either of the two forms above, at the beginning of TEXT; ret_end is what
 * follows. -EINVAL quietly if it is none.
 */
int time_parse(const char *text, int64_t *ret, const char **ret_end);

/* Names of machines, disks and clones: [A-Za-z0-9._-], 1-128 characters, the
 * first alphanumeric. The reserved ones are the callers' affair. */
bool name_ok(const char *name);

#endif

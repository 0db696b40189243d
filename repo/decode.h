/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode - fields of small BSON documents, each checked as it is read.
 *
 * A missing field, a wrong type or a value outside its range sets `bad`; the
 * getters then give harmless values, and decode_end() says -EBADMSG once. Where
 * there was no memory it is -ENOMEM: that must not pass for damage.
 *
 * Ownership  borrows the document; strings are the caller's.
 * Threads    one thread at a time.
 */
#ifndef HIVEFS_DECODE_H
#define HIVEFS_DECODE_H

#include <bson/bson.h>
#include <stdbool.h>
#include <stdint.h>

#include "repo/store.h"

struct decode {
	bson_t doc;
	bool bad;
	bool no_memory;    /* for a string: it is not the document's fault */
	const char *field; /* the first bad one */
};

void decode_begin(struct decode *in, const struct doc *d);
void decode_sub(struct decode *in, bson_iter_t *document); /* an embedded one */

int32_t decode_i32(
	struct decode *in, const char *field, int32_t min, int32_t max);
int64_t decode_i64(
	struct decode *in, const char *field, int64_t min, int64_t max);
bool decode_bool(struct decode *in, const char *field); /* absent: false */
char *decode_text(struct decode *in, const char *field);
void decode_bytes(
	struct decode *in, const char *field, void *ret, uint32_t len);
bool decode_has(struct decode *in, const char *field);
bool decode_array(struct decode *in, const char *field, bson_iter_t *ret);

/* What else is wrong with it; ERR is -EBADMSG or -ENOMEM. */
void decode_spoil(struct decode *in, const char *field, int err);
/* -EBADMSG, or -ENOMEM; 0 if nothing was wrong with IN. */
int decode_error(const struct decode *in);

/* The same, logged with WHAT and the field. */
int must_check decode_end(struct decode *in, const char *what);

#endif

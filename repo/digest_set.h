/* SPDX-License-Identifier: Apache-2.0 */
/*
 * digest_set - an exact set of digests, each with eight flags; about 60 bytes
 * a digest. A traversal that must not miss a map can rely on it, as it could
 * not on a filter that errs.
 *
 * Ownership  begins as { 0 }; digest_set_fini() frees.
 * Threads    one thread at a time.
 */
#ifndef HIVEFS_DIGEST_SET_H
#define HIVEFS_DIGEST_SET_H

#include <stdint.h>

#include "src/cleanup.h"
#include "src/digest.h"
#include "src/vec.h"

struct digest_flags {
	struct digest digest;
	uint8_t flags;
};

struct digest_set {
	struct vec(
		struct digest_flags) items; /* in the order they were added */
	uint32_t *slots;                    /* 1 + a place in items; 0: free */
	size_t n_slots;                     /* a power of two */
};

void digest_set_fini(struct digest_set *s);

/* 1: it is new. 0: it was there, FLAGS are added to its own. */
int must_check digest_set_add(
	struct digest_set *s, const struct digest *d, uint8_t flags);

/* Valid until the next add; NULL: it is not there. */
struct digest_flags *digest_set_find(
	const struct digest_set *s, const struct digest *d);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bloom - a set of digests that errs on one side: what was added is always
 * there; of what was not, some seem to be, other ones in each filter, since
 * each has a random seed. With 10 bits a digest, 1.25 GB a billion, it is one
 * in a hundred; with 64 one in a billion.
 *
 * Threads    any thread.
 */
#ifndef HIVEFS_BLOOM_H
#define HIVEFS_BLOOM_H

#include <stdbool.h>
#include <stdint.h>

#include "src/cleanup.h"
#include "src/digest.h"

#define BLOOM_BITS_MIN 10 /* a digest */
#define BLOOM_BITS_MAX 64

struct bloom;

/* With room for N digests of BITS each. */
int must_check bloom_new(uint64_t n, unsigned bits, struct bloom **ret);
void bloom_free(struct bloom *b);
DEFINE_CLEANUP(struct bloom *, bloom_free);

void bloom_add(struct bloom *b, const struct digest *d);
bool bloom_has(const struct bloom *b, const struct digest *d);

#endif

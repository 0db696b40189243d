/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/bloom.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <xxhash.h>

#include "src/log.h"
#include "src/uuid.h"

struct bloom {
	uint64_t seed;
	unsigned probes; /* 7 are best for 10 bits, 0.8 % errors; 12 will do for
			  * 64, 6e-10 */
	uint64_t n_bits; /* a multiple of 64 */
	_Atomic uint64_t *words;
};

int bloom_new(uint64_t n, unsigned bits, struct bloom **ret)
{
	uint64_t n_words = (n + 64) * bits / 64 + 1;
	struct bloom *b = calloc(1, sizeof(*b));

	if (b)
		b->words = calloc(n_words, sizeof(*b->words));
	if (!b || !b->words) {
		free(b);
		return fail(ENOMEM, "filter of %zu digests: %m", (size_t)n);
	}
	b->n_bits = n_words * 64;
	b->seed = random_u64();
	b->probes = bits < 24 ? 7 : 12;
	*ret = b;
	return 0;
}

void bloom_free(struct bloom *b)
{
	free(b->words);
	free(b);
}

/* Two hashes stand for all: bit i is the first plus i times the second. */
struct probe {
	uint64_t at, step;
};

static struct probe probe_of(const struct bloom *b, const struct digest *d)
{
	XXH128_hash_t h = XXH3_128bits_withSeed(d->b, sizeof(d->b), b->seed);

	return (struct probe){ h.low64, h.high64 | 1 };
}

static uint64_t next_bit(const struct bloom *b, struct probe *p)
{
	uint64_t bit = p->at % b->n_bits;

	p->at += p->step;
	return bit;
}

void bloom_add(struct bloom *b, const struct digest *d)
{
	struct probe p = probe_of(b, d);

	for (unsigned i = 0; i < b->probes; i++) {
		uint64_t bit = next_bit(b, &p);

		atomic_fetch_or_explicit(&b->words[bit / 64],
			UINT64_C(1) << bit % 64, memory_order_relaxed);
	}
}

bool bloom_has(const struct bloom *b, const struct digest *d)
{
	struct probe p = probe_of(b, d);

	for (unsigned i = 0; i < b->probes; i++) {
		uint64_t bit = next_bit(b, &p);
		uint64_t word = atomic_load_explicit(
			&b->words[bit / 64], memory_order_relaxed);

		if (!(word & UINT64_C(1) << bit % 64))
			return false;
	}
	return true;
}

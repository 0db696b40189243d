/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FIPS 180-4, with the instructions of Intel's SHA extensions. Those want the
 * state as (A,B,E,F) and (C,D,G,H), highest first, and do two rounds at a time.
 */
#include "src/sha256_pair.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#include "src/bytes.h"

#define BLOCK 64u
#define WITH_SHA __attribute__((target("sha,sse4.1,ssse3")))

/* One message on its way: its whole blocks, then the padded rest. */
struct lane {
	__m128i abef, cdgh;
	const uint8_t *p;
	size_t n_blocks;
	size_t tail_blocks;
	uint8_t tail[2 * BLOCK];
	struct digest *ret; /* NULL: idle */
};

static const uint32_t round_constants[64] __attribute__((aligned(
	16))) = { 0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b,
	0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
	0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1,
	0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc,
	0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3,
	0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
	0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1,
	0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585,
	0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3,
	0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814,
	0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2 };

/* The next four words of the schedule, from the last sixteen. */
#define EXTEND(w0, w1, w2, w3)                                                 \
	w0 = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w0, w1),  \
					  _mm_alignr_epi8(w3, w2, 4)),         \
		w3)

/* Four rounds of both lanes; of each, two need what the two before made. */
#define ROUNDS(i, wa, wb)                                                      \
	do {                                                                   \
		__m128i k_ = _mm_load_si128(                                   \
			(const __m128i *)(round_constants + 4 * (i)));         \
		__m128i a_ = _mm_add_epi32(wa, k_);                            \
		__m128i b_ = _mm_add_epi32(wb, k_);                            \
                                                                               \
		a1 = _mm_sha256rnds2_epu32(a1, a0, a_);                        \
		b1 = _mm_sha256rnds2_epu32(b1, b0, b_);                        \
		a_ = _mm_shuffle_epi32(a_, 0x0e);                              \
		b_ = _mm_shuffle_epi32(b_, 0x0e);                              \
		a0 = _mm_sha256rnds2_epu32(a0, a1, a_);                        \
		b0 = _mm_sha256rnds2_epu32(b0, b1, b_);                        \
	} while (0)

/* Sixteen rounds, each four of which leave the words for those of the next. */
#define ROUNDS_16(i)                                                           \
	do {                                                                   \
		ROUNDS(i, wa0, wb0);                                           \
		EXTEND(wa0, wa1, wa2, wa3);                                    \
		EXTEND(wb0, wb1, wb2, wb3);                                    \
		ROUNDS((i) + 1, wa1, wb1);                                     \
		EXTEND(wa1, wa2, wa3, wa0);                                    \
		EXTEND(wb1, wb2, wb3, wb0);                                    \
		ROUNDS((i) + 2, wa2, wb2);                                     \
		EXTEND(wa2, wa3, wa0, wa1);                                    \
		EXTEND(wb2, wb3, wb0, wb1);                                    \
		ROUNDS((i) + 3, wa3, wb3);                                     \
		EXTEND(wa3, wa0, wa1, wa2);                                    \
		EXTEND(wb3, wb0, wb1, wb2);                                    \
	} while (0)

WITH_SHA static inline __m128i load_words(const uint8_t *p)
{
	const __m128i big_endian = _mm_set_epi8(
		12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);

	return _mm_shuffle_epi8(
		_mm_loadu_si128((const __m128i *)(const void *)p), big_endian);
}

/* N blocks of each; A and B may read the same ones. */
WITH_SHA static void two_lanes(struct lane *a, struct lane *b, size_t n)
{
	__m128i a0 = a->abef, a1 = a->cdgh, b0 = b->abef, b1 = b->cdgh;

	for (size_t i = 0; i < n; i++) {
		const uint8_t *pa = a->p + i * BLOCK, *pb = b->p + i * BLOCK;
		__m128i wa0 = load_words(pa), wb0 = load_words(pb);
		__m128i wa1 = load_words(pa + 16), wb1 = load_words(pb + 16);
		__m128i wa2 = load_words(pa + 32), wb2 = load_words(pb + 32);
		__m128i wa3 = load_words(pa + 48), wb3 = load_words(pb + 48);
		__m128i a0_before = a0, a1_before = a1;
		__m128i b0_before = b0, b1_before = b1;

		ROUNDS_16(0);
		ROUNDS_16(4);
		ROUNDS_16(8);
		ROUNDS(12, wa0, wb0);
		ROUNDS(13, wa1, wb1);
		ROUNDS(14, wa2, wb2);
		ROUNDS(15, wa3, wb3);
		a0 = _mm_add_epi32(a0, a0_before);
		a1 = _mm_add_epi32(a1, a1_before);
		b0 = _mm_add_epi32(b0, b0_before);
		b1 = _mm_add_epi32(b1, b1_before);
	}
	a->abef = a0;
	a->cdgh = a1;
	b->abef = b0;
	b->cdgh = b1;
}

static void lane_begin(
	struct lane *l, const struct digest_input *in, struct digest *ret)
{
	size_t rest = in->len % BLOCK;

	l->abef = _mm_set_epi32(
		0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c);
	l->cdgh = _mm_set_epi32(
		0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19);
	l->p = in->data;
	l->n_blocks = in->len / BLOCK;
	l->tail_blocks = rest + 9 <= BLOCK ? 1 : 2;
	memset(l->tail, 0, sizeof(l->tail));
	if (rest)
		memcpy(l->tail, l->p + in->len - rest, rest);
	l->tail[rest] = 0x80;
	put_be64(l->tail + l->tail_blocks * BLOCK - 8, (uint64_t)in->len * 8);
	l->ret = ret;
}

static void lane_end(struct lane *l)
{
	uint32_t x[4], y[4];
	uint8_t *b = l->ret->b;

	memcpy(x, &l->abef, sizeof(x));
	memcpy(y, &l->cdgh, sizeof(y));
	put_be32(b, x[3]);
	put_be32(b + 4, x[2]);
	put_be32(b + 8, y[3]);
	put_be32(b + 12, y[2]);
	put_be32(b + 16, x[1]);
	put_be32(b + 20, x[0]);
	put_be32(b + 24, y[1]);
	put_be32(b + 28, y[0]);
	l->ret = NULL;
}

struct queue {
	const struct digest_input *in;
	size_t n, next;
	struct digest *ret;
};

/* False if there is nothing left to do for it. */
static bool lane_feed(struct lane *l, struct queue *q)
{
	if (l->ret && l->n_blocks == 0 && l->tail_blocks) {
		l->p = l->tail;
		l->n_blocks = l->tail_blocks;
		l->tail_blocks = 0;
	} else if (l->ret && l->n_blocks == 0) {
		lane_end(l);
	}
	if (!l->ret && q->next < q->n) {
		lane_begin(l, &q->in[q->next], &q->ret[q->next]);
		q->next++;
		if (l->n_blocks == 0)
			return lane_feed(l, q);
	}
	return l->ret != NULL;
}

static void lane_advance(struct lane *l, size_t n)
{
	l->p += n * BLOCK;
	l->n_blocks -= n;
}

void sha256_pair(const struct digest_input *in, size_t n, struct digest *ret)
{
	struct queue q = { .in = in, .n = n, .ret = ret };
	struct lane a = { .ret = NULL }, b = { .ret = NULL };

	for (;;) {
		bool busy_a = lane_feed(&a, &q), busy_b = lane_feed(&b, &q);
		size_t blocks;

		if (!busy_a && !busy_b)
			break;
		/* one that has nothing to do keeps the other one company */
		if (!busy_a)
			a.p = b.p;
		if (!busy_b)
			b.p = a.p;
		blocks = !busy_a   ? b.n_blocks
			 : !busy_b ? a.n_blocks
				   : MIN_OF(a.n_blocks, b.n_blocks);
		two_lanes(&a, &b, blocks);
		if (busy_a)
			lane_advance(&a, blocks);
		if (busy_b)
			lane_advance(&b, blocks);
	}
}

bool sha256_pair_usable(void)
{
	unsigned a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) ||
		!(c & bit_SSE4_1))
		return false;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

#else

#include <stdlib.h>

bool sha256_pair_usable(void)
{
	return false;
}

void sha256_pair(const struct digest_input *in, size_t n, struct digest *ret)
{
	(void)in;
	(void)n;
	(void)ret;
	abort();
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes - integers on media, at any alignment; and small arithmetic on ranges.
 * Every on-disk structure is read and written through these, never by casting.
 */
#ifndef HIVEFS_BYTES_H
#define HIVEFS_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define DEFINE_BYTES(bits, order)                                              \
	static inline uint##bits##_t get_##order##bits(const void *p)          \
	{                                                                      \
		uint##bits##_t v;                                              \
		memcpy(&v, p, sizeof(v));                                      \
		return order##bits##toh(v);                                    \
	}                                                                      \
	static inline void put_##order##bits(void *p, uint##bits##_t v)        \
	{                                                                      \
		v = hto##order##bits(v);                                       \
		memcpy(p, &v, sizeof(v));                                      \
	}

DEFINE_BYTES(16, le)
DEFINE_BYTES(32, le)
DEFINE_BYTES(64, le)
DEFINE_BYTES(16, be)
DEFINE_BYTES(32, be)
DEFINE_BYTES(64, be)
#undef DEFINE_BYTES

#define MIN_OF(a, b)                                                           \
	({                                                                     \
		__typeof__(a) a_ = (a);                                        \
		__typeof__(b) b_ = (b);                                        \
		a_ < b_ ? a_ : b_;                                             \
	})
#define MAX_OF(a, b)                                                           \
	({                                                                     \
		__typeof__(a) a_ = (a);                                        \
		__typeof__(b) b_ = (b);                                        \
		a_ > b_ ? a_ : b_;                                             \
	})
#define N_ELEMS(a) (sizeof(a) / sizeof((a)[0]))

/* to a multiple of UNIT, which need not be a power of two */
static inline uint64_t round_up(uint64_t v, uint64_t unit)
{
	return (v + unit - 1) / unit * unit;
}

static inline uint64_t round_down(uint64_t v, uint64_t unit)
{
	return v / unit * unit;
}

/* True if all LEN bytes are zero. About 20 GB/s: a compare with itself. */
static inline bool is_zero(const void *data, size_t len)
{
	const unsigned char *p = data;

	if (len == 0)
		return true;
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

#endif

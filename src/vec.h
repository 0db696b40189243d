/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vec - one growable array for everything that grows.
 *
 *   struct vec(struct range) ranges = { 0 };
 *   if (vec_add(&ranges, r) < 0) return -ENOMEM;
 *   ranges.v[ranges.n - 1] ...
 *   vec_fini(&ranges);
 *
 * Ownership  the vec owns its array, never what the elements point to.
 * Threads    one thread at a time.
 */
#ifndef HIVEFS_VEC_H
#define HIVEFS_VEC_H

#include <errno.h>
#include <stdlib.h>

#define vec(type)                                                              \
	{                                                                      \
		type *v;                                                       \
		size_t n, cap;                                                 \
	}

static inline int vec_grow(void **v, size_t *cap, size_t need, size_t size)
{
	size_t to = *cap ? *cap : 8;
	void *grown;

	if (need <= *cap)
		return 0;
	while (to < need)
		to *= 2;
	grown = reallocarray(*v, to, size);
	if (!grown)
		return -ENOMEM;
	*v = grown;
	*cap = to;
	return 0;
}

/* room for N more elements */
#define vec_reserve(a, more)                                                   \
	({                                                                     \
		void *v_ = (a)->v;                                             \
		int r_ = vec_grow(                                             \
			&v_, &(a)->cap, (a)->n + (more), sizeof(*(a)->v));     \
		(a)->v = v_;                                                   \
		r_;                                                            \
	})

#define vec_add(a, ...)                                                        \
	({                                                                     \
		int added_ = vec_reserve((a), 1);                              \
		if (added_ == 0)                                               \
			(a)->v[(a)->n++] = (__VA_ARGS__);                      \
		added_;                                                        \
	})

#define vec_fini(a)                                                            \
	do {                                                                   \
		free((a)->v);                                                  \
		(a)->v = NULL;                                                 \
		(a)->n = (a)->cap = 0;                                         \
	} while (0)

#endif

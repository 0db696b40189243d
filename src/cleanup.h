/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cleanup - scope-bound ownership, as GCC and clang offer it.
 *
 * scoped(fn) on a local calls fn(&local) when it leaves scope; take() moves a
 * pointer out of such a local. A function uses these or one `goto out`, never
 * both. Not called cleanup(): such a macro breaks headers that spell the
 * attribute.
 */
#ifndef HIVEFS_CLEANUP_H
#define HIVEFS_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define scoped(fn) __attribute__((cleanup(fn)))
#define must_check __attribute__((warn_unused_result))

/* Declares FNp(TYPE *), which calls FN on what the pointer holds, if anything.
 */
#define DEFINE_CLEANUP(type, fn)                                               \
	static inline void fn##p(type *p)                                      \
	{                                                                      \
		if (*p)                                                        \
			fn(*p);                                                \
	}                                                                      \
	struct cleanup_needs_a_semicolon

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define take(p)                                                                \
	({                                                                     \
		__typeof__(p) taken_ = (p);                                    \
		(p) = NULL;                                                    \
		taken_;                                                        \
	})

#define take_fd(fd)                                                            \
	({                                                                     \
		int taken_ = (fd);                                             \
		(fd) = -1;                                                     \
		taken_;                                                        \
	})

#endif

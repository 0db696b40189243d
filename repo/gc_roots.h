/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gc_roots - where everything that is in use begins: points and clones, each
 * listing compared with the store's own count. Whatever cannot be read is an
 * error: what it reaches is not known.
 */
#ifndef HIVEFS_GC_ROOTS_H
#define HIVEFS_GC_ROOTS_H

#include "repo/gc_state.h"

void gc_roots_fini(struct gc_roots *r);

/* What is live, and what is dead: points removed, roots retired before this. */
int must_check gc_roots_first(struct gc_state *g, struct gc_roots *ret);

/*
 * The live roots that the first listing had not: of points published since, be
 * they removed again, and what clones have or have let go of since.
 */
int must_check gc_roots_again(struct gc_state *g, struct gc_roots *ret);

#endif

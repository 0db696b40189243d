/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gc_mark - everything that live roots reach. Maps are visited once each by an
 * exact set: a filter that took one for visited would leave all below it
 * unmarked.
 */
#ifndef HIVEFS_GC_MARK_H
#define HIVEFS_GC_MARK_H

#include "repo/gc_state.h"

/* What R reaches, of the part that is being looked at, goes to the filter. */
int must_check gc_mark(struct gc_state *g, const struct gc_roots *r);

/*
 * What R reaches is saved: whatever this collection has condemned of it is so
 * no more, and what of it is in quarantine stays there.
 *
 * Of what clones have let go of, maps may be missing. A fold writes the list of
 * those anew as it read it; what a collection took off the list meanwhile, as
 * it had swept it, is on it again then, and nothing of it is needed any more.
 */
int must_check gc_save(struct gc_state *g, const struct gc_roots *r);

#endif

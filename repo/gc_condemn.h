/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gc_condemn - what is not marked is condemned, so that writers can still save
 * it; what earlier collections left is taken over, let go of, or finished.
 */
#ifndef HIVEFS_GC_CONDEMN_H
#define HIVEFS_GC_CONDEMN_H

#include "repo/gc_state.h"

/*
 * Of the part that is being looked at; in a dry run it is only counted. -ENOSPC
 * quietly: some are condemned.
 */
int must_check gc_condemn(struct gc_state *g);

#endif

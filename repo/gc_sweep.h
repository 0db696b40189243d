/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gc_sweep - removes what is still condemned. Each step is one change of one
 * document that can be made again, so that whoever dies leaves what the next
 * collection finishes, and one that slept for a week does no harm.
 */
#ifndef HIVEFS_GC_SWEEP_H
#define HIVEFS_GC_SWEEP_H

#include "repo/condemned.h"
#include "repo/gc_state.h"

int must_check gc_sweep(struct gc_state *g);

/*
 * What was dead in the first listing is no more: points become tombstones,
 * roots leave the clones' documents, entries of the quarantine go.
 */
int must_check gc_bury(struct gc_state *g);

#endif

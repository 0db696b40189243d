/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_compact - a segment less than half alive is moved elsewhere, document
 * by document, then removed: so the embedded store shrinks on disk.
 *
 * Chunks and maps go to segments that are written in bulk, everything else to
 * the journal, with the order that it had. The new places are durable before
 * the file is unlinked. A reader that finds its file gone looks the place up
 * again; a document that cannot be read keeps its segment where it is.
 *
 * What needs no space is done first: segments with nothing alive go at once,
 * those with the least alive before the others.
 */
#ifndef HIVEFS_STORE_COMPACT_H
#define HIVEFS_STORE_COMPACT_H

#include "repo/embedded.h"

int must_check embedded_compact(struct store *s, _Atomic uint64_t *done,
	_Atomic uint64_t *total, const _Atomic bool *cancel,
	struct store_compact *ret);

#endif

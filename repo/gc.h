/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gc - frees what no point and no clone reaches, while backups, mounts, clones
 * and other collections go on: without a lock and without a clock.
 *
 *   1. the generation moves on to G; points and clones are listed (gc_roots)
 *   2. all that live roots reach is marked (gc_mark)
 *   3. what is not marked, and older than every writer, is condemned
 *      (gc_condemn)
 *   4. the generation moves on to E; writers that began before that finish, or
 *      are given up and fenced (writers)
 *   5. points and clones are listed again; what they reach since is saved
 *   6. what is still condemned is swept (gc_sweep), dead points become
 *      tombstones
 *   7. the store gives back the space (store_compact())
 *
 * The order of all of it is a model's (tests/model/gc.pml). Nothing is removed
 * after anything could not be read, and whoever dies at any step leaves what
 * the next collection takes up. Removed points are dead if they were removed
 * before it began.
 *
 * Memory     10 to 64 bits a chunk or map, as far as the bound allows; beyond
 * it maps are read several times, each time for a part of the digests. 60 bytes
 * a map that is in use. So with 64 KiB chunks and 4 MiB windows 2.2 GB for a
 * billion chunks, 1 GB of that with a small bound. Threads one call at a time;
 * it runs threads of its own.
 */
#ifndef HIVEFS_GC_H
#define HIVEFS_GC_H

#include <stdatomic.h>
#include <stdbool.h>

#include "repo/repo.h"

struct gc_progress {
	_Atomic uint64_t done, total; /* of the phase; no unit */
};

struct gc {
	struct repo *repo;  /* of a dry run: may be open for reading only */
	bool dry_run;       /* up to step 2, and counts */
	unsigned n_threads; /* 0: as fits this host */
	uint64_t memory;    /* bytes of the filter at most; 0: 256 MiB */
	unsigned patience;  /* seconds that a writer may be silent */
	struct gc_progress *progress;               /* may be NULL */
	void (*phase)(void *arg, const char *name); /* may be NULL */
	void *arg;
	const _Atomic bool *cancel; /* NULL, or true to stop: -ECANCELED */
};

struct gc_result {
	uint64_t generation;         /* G; 0 of a dry run */
	uint64_t n_points, n_clones; /* live */
	uint64_t n_buried;           /* removed points that became tombstones */
	uint64_t n_retired;          /* roots of clones that were let go of */
	uint64_t n_maps;             /* distinct ones that are in use */
	uint64_t n_chunks, n_chunk_bytes; /* removed; dry run: would be */
	uint64_t n_map_docs, n_map_bytes; /* likewise */
	uint64_t n_saved;                 /* condemned and needed again */
	uint64_t n_given_up;              /* writers taken for dead */
	uint64_t n_streams;               /* of discarded clones, left behind */
	bool partial; /* space ran out before all was condemned */
	struct store_compact space;
};

/* Logged: why nothing, or nothing more, was removed. */
int must_check gc(const struct gc *job, struct gc_result *ret);

#endif

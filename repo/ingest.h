/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest - from sources to a published point.
 *
 *   register as a writer -> per disk: read, cut, hash, ask, compress, store,
 *   window by window in parallel -> maps, bottom-up -> sync -> publish
 *
 * The parent point is the first guess: a window that packs to the parent's
 * leaf costs no look-up and no write.
 *
 * Threads    one call at a time a struct ingest; it runs threads of its own.
 * Memory     about 5 MiB a thread, and 128 MiB of batches for all of them.
 */
#ifndef HIVEFS_INGEST_H
#define HIVEFS_INGEST_H

#include <stdatomic.h>
#include <stdbool.h>

#include "repo/point.h"
#include "src/blk.h"

struct ingest_disk {
	const char *name;
	struct blk *source;
	const char *source_name; /* for people */
};

/* Bytes; read by a progress display while ingest() runs. */
struct ingest_progress {
	_Atomic uint64_t done; /* of the disks: read or known to be zero */
	_Atomic uint64_t total;
	_Atomic uint64_t read; /* from the sources */
	/* chunks and maps that were found gone, and so are stored anew */
	_Atomic uint64_t gone;
};

struct ingest {
	struct repo *repo;
	const char *machine;
	const struct ingest_disk *disks;
	size_t n_disks;
	unsigned n_threads; /* 0: as fits this host */
	enum consistency consistency;
	/* what it does not say is as in the newest point */
	struct machine_config config;
	bool skip_errors; /* unreadable ranges become lost extents */
	bool no_check;    /* what is compressed is not read back */
	bool dry_run;     /* nothing is written: `fresh` is what would be */
	struct ingest_progress *progress; /* NULL: nobody looks */
	const _Atomic bool *cancel; /* NULL, or true to stop: -ECANCELED */
};

/*
 * Publishes a point and returns it. On failure nothing is published. Logged:
 * -ENOTUNIQ its writer was given up by gc (run it again); -ESTALE the source
 * changed while it was read (unless consistency is none).
 */
int must_check ingest(const struct ingest *job, struct point *ret);

#endif

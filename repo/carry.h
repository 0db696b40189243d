/* SPDX-License-Identifier: Apache-2.0 */
/*
 * carry - what a disk's map names, brought from one repository into another:
 * maps and chunks as they are stored, each decoded and hashed on the way.
 *
 * Where the map is that of a disk which a point of the other repository has,
 * nothing is looked at. All else is asked for, in batches, before it is read;
 * a map that is there vouches for nothing that it names, so what an attempt
 * that was killed left is walked over, not sent again.
 *
 * Threads    one call at a time; it runs threads of its own.
 * Memory     about 2 MiB a thread, 64 MiB of batches, and 60 bytes for each of
 *            a million chunks at most.
 * Errors     of either store. -EBADMSG where carry_source_bad(): what was to be
 *            brought is damaged or missing.
 */
#ifndef HIVEFS_CARRY_H
#define HIVEFS_CARRY_H

#include <stdatomic.h>
#include <stdbool.h>

#include "repo/digest_set.h"
#include "repo/writer.h"
#include "src/rate.h"

struct carry_params {
	struct repo *from, *to;
	struct writer *writer; /* of TO; NULL: nothing is stored, or read that
				* need not be */
	bool trust_base;
	/* chunks that are there for as long as the writer, as far as is known:
	 * each is asked for once. Of a dry run, those that would be by now */
	struct digest_set *claimed;
	unsigned n_threads;
	struct rate *rate;
	const _Atomic bool *cancel; /* may be NULL */
	_Atomic uint64_t *done;     /* goes up by the bytes of disks */
};

struct carry_stats {
	uint64_t n_chunks, n_maps; /* that were not there */
	uint64_t plain;            /* bytes of those chunks */
	uint64_t stored;           /* of both as they were sent; 0 if dry */
};

struct carry;
int must_check carry_new(const struct carry_params *params, struct carry **ret);
void carry_free(struct carry *c);
DEFINE_CLEANUP(struct carry *, carry_free);

struct carry_disk {
	const struct digest *root;
	uint64_t size;
	/* a disk of a point that stays in TO until the writer ends; its maps
	 * are read from base_repo */
	struct repo *base_repo;
	const struct digest *base_root;
	uint64_t base_size;
};

/* All that the root leads to is inserted when this returns 0, not synced. */
int must_check carry_disk(struct carry *c, const struct carry_disk *disk);

struct carry_stats carry_stats(const struct carry *c);
bool carry_source_bad(const struct carry *c);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stamps - when stored chunks were last read and compared with their digests,
 * by the first byte of the digest: chunks never change, so a time for each part
 * of them says all, and costs no time of a chunk's own.
 *
 * The times are for people and for choosing what to verify next; nothing that
 * could lose data depends on them.
 */
#ifndef HIVEFS_STAMPS_H
#define HIVEFS_STAMPS_H

#include "repo/repo.h"

#define STAMPS 256u

struct stamps {
	int64_t time[STAMPS]; /* seconds since 1970, UTC; 0: never */
};

/* All are 0 where none were ever saved, or with -EBADMSG, logged. */
int must_check stamps_load(struct repo *r, struct stamps *ret);

/* Those of S that are not 0 replace what is there. */
int must_check stamps_save(struct repo *r, const struct stamps *s);

/*
 * Which parts to verify: those last verified before BEFORE (0: all), the oldest
 * first, of these at most MAX. Returns how many.
 */
unsigned stamps_choose(const struct stamps *s, int64_t before, unsigned max,
	uint8_t ret[STAMPS]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * condemned - digests that a garbage collection is about to remove, so that a
 * writer can still save them: by removing the document while its state is not
 * sweeping.
 *
 * The generation of the document is that of the collection.
 */
#ifndef HIVEFS_CONDEMNED_H
#define HIVEFS_CONDEMNED_H

#include <stdbool.h>

#include "repo/repo.h"
#include "src/digest.h"

struct condemned {
	struct digest digest;
	uint64_t version, generation;
	bool sweeping;        /* else it can be saved */
	enum coll coll;       /* COLL_CHUNKS or COLL_MAPS */
	uint64_t incarnation; /* the only one that may be removed */
};

/* -ENOENT, quietly. */
int must_check condemned_get(
	struct repo *r, const struct digest *d, struct condemned *ret);

/* -EBADMSG, logged. */
int must_check condemned_decode(const struct doc *doc, struct condemned *ret);

/*
 * Finishes what a collection that is sweeping it, or died at that, began: the
 * incarnation goes, then the document. 0 also if others were faster.
 */
int must_check condemned_finish(struct repo *r, const struct condemned *c);

/* A document that says what C does; its body is in BUF. */
#define CONDEMNED_LEN 64
struct doc condemned_doc(const struct condemned *c, uint8_t buf[CONDEMNED_LEN]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair_lost - what an index that is about to be replaced knows and segments
 * cannot tell: that some of them are gone, or end too early. Rebuilt without a
 * word, the new index would make points vanish as if they had never been.
 *
 * Threads    one thread.
 */
#ifndef HIVEFS_REPAIR_LOST_H
#define HIVEFS_REPAIR_LOST_H

#include "repo/repodir.h"
#include "repo/store.h"
#include "src/vec.h"

/* A document that stood somewhere: in the old index, or in a damaged record. */
struct repair_known {
	struct store_lost at;
	uint64_t version;
	uint64_t order; /* of its record; 0: known from the index */
	uint64_t len;   /* of its record */
};

struct repair_knowns vec(struct repair_known);

/* What lies behind is of a write that was not finished. */
struct repair_row {
	uint32_t segment;
	uint64_t committed;
};
struct repair_rows vec(struct repair_row);

/* What the index that is replaced knows. */
struct repair_old {
	struct repair_knowns known;
	struct repair_rows rows;
	uint32_t next_segment; /* 0: not known */
};

/*
 * Logs the segments that are missing or end too early, adds them to what was
 * damaged, and what else the old index knows to RET. Best effort: of an index
 * that cannot be read nothing is known.
 */
void repair_find_lost(const struct repodir *d, struct store_repair *result,
	struct repair_old *ret);

#endif

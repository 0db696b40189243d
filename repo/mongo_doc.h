/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongo_doc - documents as they are in MongoDB. FORMAT.md, "Store in MongoDB",
 * is normative.
 *
 *   _id  the key: binary in chunks and maps; text in meta and machines, in all
 *        others its hexadecimal digits. Texts order as their bytes do, binaries
 *        of one length, too.
 *   v g  version, generation
 *   n    length of the body
 *   x    checksum of all that
 *   by   a number of the very insert or change: after a lost reply it tells
 *        ours from another's. Not in chunks and maps, whose version does that.
 *   doc  the body; bin where it is no BSON document
 *
 * Threads    any thread.
 */
#ifndef HIVEFS_MONGO_DOC_H
#define HIVEFS_MONGO_DOC_H

#include <bson/bson.h>

#include "repo/store.h"

static inline bool mongo_is_content(enum coll c)
{
	return c == COLL_CHUNKS || c == COLL_MAPS;
}

/* Appends the field NAME with KEY as it is in the collection. */
void mongo_id_append(
	bson_t *b, const char *name, enum coll c, const struct key *key);

/*
 * The same with something appended that is just above (ABOVE) or just below all
 * keys that begin with KEY; LEN: how long the collection's keys are, of content
 */
void mongo_bound_append(bson_t *b, const char *name, enum coll c,
	const struct key *key, bool above, unsigned len);

/* BY as above. B is initialised by it. */
void mongo_doc_encode(const struct doc *d, uint64_t by, bson_t *b);

/* What there is of a document in B; fields that are absent are 0. */
struct mongo_row {
	struct doc doc; /* the body lies in B */
	uint64_t by;
};

/* KEYS: it was asked for without its body, and with its checksum left out. */
int must_check mongo_doc_decode(
	const bson_t *b, enum coll c, bool keys, struct mongo_row *ret);

/* The key alone. */
int must_check mongo_doc_decode_key(
	const bson_t *b, enum coll c, struct key *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongo_group - a document of a stream in MongoDB: records that were appended
 * while the one before was on its way, or a takeover. FORMAT.md, "Store in
 * MongoDB", is normative.
 *
 * Threads    any thread.
 */
#ifndef HIVEFS_MONGO_GROUP_H
#define HIVEFS_MONGO_GROUP_H

#include <bson/bson.h>

#include "repo/stream.h"
#include "repo/stream_record.h"

#define MONGO_STREAMS "streams"

/* It takes no more records then; a single one may be larger. */
#define GROUP_BYTES (1u << 20)
#define GROUP_RECORDS 1024u

/* digits of the stream and of the sequence number, and a zero */
#define GROUP_ID 49

struct group {
	enum stream_kind kind;
	uint64_t seq;   /* of the first record */
	uint64_t place; /* of its first byte */
	uint64_t by;    /* id of its owner */
	uint32_t n;     /* records; 0 of a takeover */
	uint32_t len;   /* bytes of all */
	uint8_t *lens;  /* n × u32: of each record; NULL: not asked for */
	uint8_t *data;  /* likewise */
};

/* The sequence number that follows. */
static inline uint64_t group_next(const struct group *g)
{
	if (g->kind == STREAM_TAKEOVER)
		return (stream_epoch(g->seq) + 1) << STREAM_NUMBER_BITS;
	return g->seq + g->n;
}

void group_id(const struct uuid *stream, uint64_t seq, char ret[GROUP_ID]);

/* OWNER: of a takeover. */
void group_encode(const struct group *g, const struct uuid *stream,
	const struct stream_owner *owner, bson_t *b);

/*
 * HEAD: it was asked for without lens and data. Those of ret are owned, for
 * group_fini().
 */
int must_check group_decode(const bson_t *b, const struct uuid *stream,
	bool head, struct group *ret);
void group_fini(struct group *g);

#endif

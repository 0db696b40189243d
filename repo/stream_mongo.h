/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_mongo - streams in MongoDB: a document for each group of records that
 * came while the one before was on its way. One insert is under way at a time,
 * so an acknowledged one is never behind a gap.
 *
 * Threads and errors are those of stream.h.
 */
#ifndef HIVEFS_STREAM_MONGO_H
#define HIVEFS_STREAM_MONGO_H

#include "repo/stream.h"

int mongo_stream_open(struct store *s, const struct uuid *id, uint64_t from,
	const struct stream_owner *owner, stream_visit visit, void *arg,
	struct stream **ret);
int mongo_stream_peek(struct store *s, const struct uuid *id, uint64_t from,
	stream_visit visit, void *arg, struct stream **ret);
int mongo_stream_owner(
	struct store *s, const struct uuid *id, struct stream_owner *ret);
int mongo_stream_list(struct store *s,
	int (*visit)(void *arg, const struct uuid *id), void *arg);
int mongo_stream_remove(struct store *s, const struct uuid *id);

#endif

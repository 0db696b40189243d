/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_embedded - streams of the embedded store: a row of the table. A
 * directory of files of up to 64 MiB each, locked by its owner; layout:
 * FORMAT.md, "Streams".
 */
#ifndef HIVEFS_STREAM_EMBEDDED_H
#define HIVEFS_STREAM_EMBEDDED_H

#include "repo/stream.h"

int must_check embedded_stream_open(struct store *s, const struct uuid *id,
	uint64_t from, const struct stream_owner *owner, stream_visit visit,
	void *arg, struct stream **ret);
int must_check embedded_stream_peek(struct store *s, const struct uuid *id,
	uint64_t from, stream_visit visit, void *arg, struct stream **ret);
int must_check embedded_stream_owner(
	struct store *s, const struct uuid *id, struct stream_owner *ret);
int must_check embedded_stream_list(struct store *s,
	int (*visit)(void *arg, const struct uuid *id), void *arg);
int must_check embedded_stream_remove(struct store *s, const struct uuid *id);

#endif

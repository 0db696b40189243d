/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_walk - replaying a stream of an embedded store: from a sequence number
 * on, up to the first record that is torn or missing. Changes nothing.
 *
 * Only the last file can end in a torn record, since a file is synced before
 * the next one is made: in any other, what is no record is damage. In the last
 * one a record that is missing was either never synced or is damaged, and in
 * general nothing tells which; but each record says up to where the stream was
 * synced when it was written. Where one that lies behind claims what is
 * missing, that is damage, too, and nothing is cut off.
 */
#ifndef HIVEFS_STREAM_WALK_H
#define HIVEFS_STREAM_WALK_H

#include "repo/stream_set.h"

struct stream_walk {
	/* empty; the files are added. Writable: nobody else changes them */
	struct stream_set *set;
	uint64_t from;
	stream_visit visit;
	void *arg;
	uint64_t next; /* returned: what the next record would be */
};

/*
 * The end of the last file's records is its `end`. -EBADMSG, logged. -ESTALE,
 * quietly: what FROM begins with was trimmed, or a file was while we looked;
 * whoever told FROM is to be asked again.
 */
int must_check stream_walk(struct stream_walk *w);

#endif

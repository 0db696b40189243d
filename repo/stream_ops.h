/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_ops - the table of streams: what a kind of store provides for those
 * that are open, beside the stream_… members of store_ops. stream.c checks
 * arguments and calls through it; the contract of each call is that of the
 * function of the same name in stream.h.
 */
#ifndef HIVEFS_STREAM_OPS_H
#define HIVEFS_STREAM_OPS_H

#include "repo/stream.h"

struct stream_ops {
	/* LEN is that of all pieces together */
	int (*append)(struct stream *st, const struct iovec *iov, int n_iov,
		uint32_t len, uint64_t *ret_seq, uint64_t *ret_place);
	int (*sync)(struct stream *st);
	void (*flush)(struct stream *st);
	uint64_t (*next)(const struct stream *st);
	int (*read)(struct stream *st, uint64_t place, void *buf, size_t len);
	int (*trim)(struct stream *st, uint64_t seq);
	uint64_t (*bytes)(const struct stream *st);
	void (*close)(struct stream *st);
};

/* The first member of every stream. */
struct stream {
	const struct stream_ops *ops;
};

#endif

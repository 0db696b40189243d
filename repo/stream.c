/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/stream.h"

#include <assert.h>

#include "repo/store_ops.h"
#include "repo/stream_ops.h"

int stream_open(struct store *s, const struct uuid *id, uint64_t from,
	const struct stream_owner *owner, stream_visit visit, void *arg,
	struct stream **ret)
{
	return s->ops->stream_open(s, id, from, owner, visit, arg, ret);
}

int stream_peek(struct store *s, const struct uuid *id, uint64_t from,
	stream_visit visit, void *arg, struct stream **ret)
{
	return s->ops->stream_peek(s, id, from, visit, arg, ret);
}

int stream_owner(
	struct store *s, const struct uuid *id, struct stream_owner *ret)
{
	return s->ops->stream_owner(s, id, ret);
}

int stream_remove(struct store *s, const struct uuid *id)
{
	return s->ops->stream_remove(s, id);
}

void stream_close(struct stream *st)
{
	st->ops->close(st);
}

int stream_append(struct stream *st, const struct iovec *iov, int n_iov,
	uint64_t *ret_seq, uint64_t *ret_place)
{
	size_t len = 0;

	for (int i = 0; i < n_iov; i++) {
		assert(iov[i].iov_len <= STREAM_PAYLOAD_MAX);
		len += iov[i].iov_len;
		assert(len <= STREAM_PAYLOAD_MAX);
	}
	return st->ops->append(
		st, iov, n_iov, (uint32_t)len, ret_seq, ret_place);
}

int stream_sync(struct stream *st)
{
	return st->ops->sync(st);
}

void stream_flush(struct stream *st)
{
	st->ops->flush(st);
}

uint64_t stream_next(const struct stream *st)
{
	return st->ops->next(st);
}

int stream_read(struct stream *st, uint64_t place, void *buf, size_t len)
{
	return st->ops->read(st, place, buf, len);
}

int stream_trim(struct stream *st, uint64_t seq)
{
	return st->ops->trim(st, seq);
}

uint64_t stream_bytes(const struct stream *st)
{
	return st->ops->bytes(st);
}

int stream_list(struct store *s, int (*visit)(void *arg, const struct uuid *id),
	void *arg)
{
	return s->ops->stream_list(s, visit, arg);
}

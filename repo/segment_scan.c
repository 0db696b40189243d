/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>

#include "repo/segment.h"
#include "src/bytes.h"

#define SCAN_BUF (4u << 20)
#define SECTOR 4096u

void segment_scan_init(struct segment_scan *s, int fd, uint64_t seed,
	uint64_t off, uint64_t end)
{
	*s = (struct segment_scan){
		.fd = fd, .seed = seed, .off = off, .end = end
	};
}

void segment_scan_fini(struct segment_scan *s)
{
	free(s->buf);
	s->buf = NULL;
}

/*
 * As much as there is; bad sectors read as zeroes, which no checksum accepts,
 * so that one of them costs the records it touches and no more.
 */
static ssize_t read_around_damage(
	int fd, uint8_t *buf, size_t len, uint64_t off)
{
	ssize_t n = pread(fd, buf, len, (off_t)off);

	if (n >= 0 || errno != EIO)
		return n;
	len = MIN_OF(len, SECTOR - off % SECTOR);
	n = pread(fd, buf, len, (off_t)off);
	if (n < 0 && errno == EIO) {
		memset(buf, 0, len);
		return (ssize_t)len;
	}
	return n;
}

/* The bytes at OFF, WANT of them unless the end comes first. */
static int scan_fill(struct segment_scan *s, uint64_t off, size_t want,
	const uint8_t **ret, size_t *ret_avail)
{
	size_t keep = 0;

	want = MIN_OF(want, s->end - off);
	if (off >= s->buf_off && off + want <= s->buf_off + s->have)
		goto out;
	if (off >= s->buf_off && off < s->buf_off + s->have) {
		keep = s->buf_off + s->have - off;
		memmove(s->buf, s->buf + (off - s->buf_off), keep);
	}
	if (s->cap < MAX_OF(want, SCAN_BUF)) {
		size_t cap = MAX_OF(want, SCAN_BUF);
		uint8_t *grown = realloc(s->buf, cap);

		if (!grown)
			return -ENOMEM;
		s->buf = grown;
		s->cap = cap;
	}
	s->buf_off = off;
	s->have = keep;
	while (s->have < s->cap && off + s->have < s->end) {
		ssize_t n = read_around_damage(s->fd, s->buf + s->have,
			MIN_OF(s->cap - s->have, s->end - off - s->have),
			off + s->have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) {
			s->end = off + s->have;
			break;
		}
		s->have += (size_t)n;
	}
out:
	*ret = s->buf + (off - s->buf_off);
	*ret_avail = s->buf_off + s->have - off;
	return 0;
}

/* 1 if a whole record begins at OFF, body unchecked; 0 if none does. */
static int scan_record(struct segment_scan *s, uint64_t off, struct record *ret)
{
	const uint8_t *p;
	size_t avail;
	int err = scan_fill(s, off, RECORD_HEADER + KEY_MAX, &p, &avail);

	if (err)
		return err;
	return record_decode(p, avail, s->seed, off, ret) == 0 &&
	       ret->len <= s->end - off;
}

int segment_scan_next(
	struct segment_scan *s, struct record *ret, const uint8_t **ret_body)
{
	const uint8_t *p;
	uint64_t begin;
	size_t avail;
	int r;

	*ret_body = NULL;
	begin = s->off;
	if (s->ahead.kind != RECORD_DAMAGED) {
		*ret = s->ahead;
		s->ahead.kind = RECORD_DAMAGED;
	} else {
		for (r = 0; s->off < s->end; s->off += 8) {
			r = scan_record(s, s->off, &s->ahead);
			if (r != 0)
				break;
		}
		if (r < 0)
			return r;
		if (s->off > begin) {
			if (r == 0)
				s->ahead.kind = RECORD_DAMAGED;
			s->off = MIN_OF(s->off, s->end);
			*ret = (struct record){ .kind = RECORD_DAMAGED,
				.off = begin,
				.len = s->off - begin };
			return ret->len > 0;
		}
		if (r == 0)
			return 0;
		*ret = s->ahead;
		s->ahead.kind = RECORD_DAMAGED;
	}
	r = scan_fill(s, s->off, ret->len, &p, &avail);
	if (r < 0)
		return r;
	s->off += ret->len;
	/* the file may have become shorter meanwhile */
	if (avail >= ret->len && record_body_ok(ret, record_body(ret, p)))
		*ret_body = record_body(ret, p);
	return 1;
}

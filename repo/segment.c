/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/segment.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <xxhash.h>

#include "src/bytes.h"

#define HEADER_MAGIC "HIVEFSEG"
#define HEADER_SUM (SEGMENT_HEADER - 8)
#define FORMAT 1

/* no text, no usual code, no pointer: rare in guests' data */
#define RECORD_MAGIC UINT64_C(0x9dc1f4e2b7a85e1f)

static_assert(RECORD_HEADER % 8 == 0 && SEGMENT_HEADER % 8 == 0 &&
		      KEY_MAX % 8 == 0 && DOC_MAX % 8 == 0,
	"records are 8-byte aligned");

char *segment_name(uint32_t id, char buf[SEGMENT_NAME])
{
	snprintf(buf, SEGMENT_NAME, "%08x.seg", id);
	return buf;
}

uint32_t segment_id(const char *name)
{
	char back[SEGMENT_NAME];
	uint32_t id = (uint32_t)strtoul(name, NULL, 16);

	return strcmp(segment_name(id, back), name) == 0 ? id : 0;
}

uint64_t segment_seed(const struct seal *seal, uint32_t id)
{
	uint8_t b[28];

	memcpy(b, seal->uuid.b, 16);
	put_le64(b + 16, seal->salt);
	put_le32(b + 24, id);
	return XXH3_64bits(b, sizeof(b));
}

void segment_header_encode(const struct seal *seal, uint32_t id, uint8_t *buf)
{
	memset(buf, 0, SEGMENT_HEADER);
	memcpy(buf + 0x00, HEADER_MAGIC, 8);
	put_le32(buf + 0x08, FORMAT);
	put_le32(buf + 0x0c, id);
	memcpy(buf + 0x10, seal->uuid.b, 16);
	put_le64(buf + 0x20, seal->salt);
	put_le64(buf + HEADER_SUM, XXH3_64bits(buf, HEADER_SUM));
}

int segment_header_seal(const uint8_t *buf, uint32_t id, struct seal *ret)
{
	if (memcmp(buf, HEADER_MAGIC, 8) != 0 ||
		get_le64(buf + HEADER_SUM) != XXH3_64bits(buf, HEADER_SUM))
		return -EBADMSG;
	if (get_le32(buf + 0x08) != FORMAT)
		return -EPROTONOSUPPORT;
	if (get_le32(buf + 0x0c) != id)
		return -EBADMSG;
	memcpy(ret->uuid.b, buf + 0x10, 16);
	ret->salt = get_le64(buf + 0x20);
	return 0;
}

int segment_header_check(
	const struct seal *seal, uint32_t id, const uint8_t *buf)
{
	struct seal is;
	int r = segment_header_seal(buf, id, &is);

	if (r < 0)
		return r;
	return memcmp(is.uuid.b, seal->uuid.b, 16) == 0 && is.salt == seal->salt
		       ? 0
		       : -EBADMSG;
}

uint64_t record_len(unsigned key_len, uint32_t body_len)
{
	return RECORD_HEADER + round_up(key_len, 8) + round_up(body_len, 8);
}

static uint64_t header_sum(
	const uint8_t *p, unsigned key_len, uint64_t seed, uint64_t off)
{
	uint8_t b[0x30 + KEY_MAX];

	memcpy(b, p, 0x30);
	memcpy(b + 0x30, p + RECORD_HEADER, key_len);
	return XXH3_64bits_withSeed(b, 0x30 + key_len, seed + off);
}

static void record_encode(const struct record *r, uint64_t seed, uint8_t *p)
{
	put_le64(p + 0x00, RECORD_MAGIC);
	p[0x08] = (uint8_t)r->kind;
	p[0x09] = (uint8_t)r->coll;
	p[0x0a] = r->key.len;
	p[0x0b] = 0;
	put_le32(p + 0x0c, r->body_len);
	put_le64(p + 0x10, r->version);
	put_le64(p + 0x18, r->generation);
	put_le64(p + 0x20, r->order);
	put_le64(p + 0x28, r->body_sum);
	memset(p + RECORD_HEADER, 0, round_up(r->key.len, 8));
	memcpy(p + RECORD_HEADER, r->key.b, r->key.len);
	put_le64(p + 0x30, header_sum(p, r->key.len, seed, r->off));
}

int record_decode(const uint8_t *p, size_t avail, uint64_t seed, uint64_t off,
	struct record *ret)
{
	unsigned key_len;
	uint32_t body_len;

	if (avail < RECORD_HEADER || get_le64(p + 0x00) != RECORD_MAGIC)
		return -EBADMSG;
	key_len = p[0x0a];
	body_len = get_le32(p + 0x0c);
	if ((p[0x08] != RECORD_PUT && p[0x08] != RECORD_REMOVE) ||
		p[0x09] >= N_COLLS || key_len < 1 || key_len > KEY_MAX ||
		body_len > DOC_MAX ||
		(p[0x08] == RECORD_REMOVE && body_len != 0) ||
		avail < RECORD_HEADER + key_len ||
		get_le64(p + 0x30) != header_sum(p, key_len, seed, off))
		return -EBADMSG;
	ret->kind = p[0x08];
	ret->coll = p[0x09];
	ret->key = key_of(p + RECORD_HEADER, key_len);
	ret->body_len = body_len;
	ret->version = get_le64(p + 0x10);
	ret->generation = get_le64(p + 0x18);
	ret->order = get_le64(p + 0x20);
	ret->body_sum = get_le64(p + 0x28);
	ret->off = off;
	ret->len = record_len(key_len, body_len);
	return 0;
}

const uint8_t *record_body(const struct record *r, const uint8_t *p)
{
	return p + RECORD_HEADER + round_up(r->key.len, 8);
}

bool record_body_ok(const struct record *r, const uint8_t *body)
{
	return XXH3_64bits(body, r->body_len) == r->body_sum;
}

#define APPEND_BUF (4u << 20)
#define APPEND_COPY 8192u /* bodies below this are copied */

int segment_append_init(
	struct segment_append *a, int fd, uint64_t seed, uint64_t end)
{
	uint8_t *buf = malloc(APPEND_BUF);

	if (!buf)
		return -ENOMEM;
	a->fd = fd;
	a->seed = seed;
	a->end = a->written = end;
	a->buf = buf;
	a->used = 0;
	a->n_iov = 0;
	return 0;
}

void segment_append_fini(struct segment_append *a)
{
	free(a->buf);
	a->buf = NULL;
}

/* A quota is a disk that is full for us. */
static int write_error(void)
{
	return errno == EDQUOT ? -ENOSPC : -errno;
}

static int append_write(struct segment_append *a)
{
	struct iovec *iov = a->iov;
	int n = a->n_iov;

	while (n > 0) {
		ssize_t done = pwritev(a->fd, iov, n, (off_t)a->written);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return write_error();
		if (done == 0)
			return -EIO;
		a->written += (uint64_t)done;
		for (; n > 0 && (size_t)done >= iov->iov_len; iov++, n--)
			done -= (ssize_t)iov->iov_len;
		if (n > 0) {
			iov->iov_base = (uint8_t *)iov->iov_base + done;
			iov->iov_len -= (size_t)done;
		}
	}
	a->n_iov = 0;
	a->used = 0;
	return 0;
}

/* Bytes of the buffer that lie next to the last ones need no iovec more. */
static void append_iov(struct segment_append *a, const void *data, size_t len)
{
	struct iovec *last = a->n_iov ? &a->iov[a->n_iov - 1] : NULL;

	if (last && (uint8_t *)last->iov_base + last->iov_len == data) {
		last->iov_len += len;
		return;
	}
	a->iov[a->n_iov].iov_base = (void *)(uintptr_t)data;
	a->iov[a->n_iov++].iov_len = len;
}

int segment_append(struct segment_append *a, struct record *r, const void *body)
{
	size_t head = RECORD_HEADER + round_up(r->key.len, 8);
	size_t pad = round_up(r->body_len, 8) - r->body_len;
	bool copy = r->body_len < APPEND_COPY;
	uint8_t *p;

	if (a->n_iov > APPEND_IOVS - 3 ||
		APPEND_BUF - a->used < head + APPEND_COPY ||
		a->end - a->written >= APPEND_BUF) {
		int err = append_write(a);

		if (err)
			return err;
	}
	p = a->buf + a->used;
	r->off = a->end;
	r->len = record_len(r->key.len, r->body_len);
	r->body_sum = XXH3_64bits(body, r->body_len);
	record_encode(r, a->seed, p);
	if (copy && r->body_len) {
		memcpy(p + head, body, r->body_len);
		head += r->body_len;
	}
	append_iov(a, p, head);
	a->used += head;
	if (!copy)
		append_iov(a, body, r->body_len);
	if (pad) {
		memset(a->buf + a->used, 0, pad);
		append_iov(a, a->buf + a->used, pad);
		a->used += pad;
	}
	a->end += r->len;
	return 0;
}

int segment_append_flush(struct segment_append *a)
{
	int err = append_write(a);

	if (err)
		return err;
	return fdatasync(a->fd) == 0 ? 0 : write_error();
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "src/blk.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "src/bytes.h"
#include "src/log.h"

#define COMPARE_STEP (1U << 20)

static bool in_range(const struct blk *b, uint64_t off, uint64_t len)
{
	return off <= b->size && len <= b->size - off;
}

int blk_pread(struct blk *b, void *buf, size_t len, uint64_t off)
{
	assert(in_range(b, off, len));
	return len ? b->ops->pread(b, buf, len, off) : 0;
}

int blk_pwrite(struct blk *b, const void *buf, size_t len, uint64_t off)
{
	assert(in_range(b, off, len));
	if (!b->ops->pwrite)
		return fail(EROFS, "%s: write: %m", b->name);
	return len ? b->ops->pwrite(b, buf, len, off) : 0;
}

int blk_zero(struct blk *b, uint64_t off, uint64_t len)
{
	assert(in_range(b, off, len));
	if (!b->ops->zero)
		return fail(EROFS, "%s: write zeroes: %m", b->name);
	return len ? b->ops->zero(b, off, len) : 0;
}

int blk_extent(
	struct blk *b, uint64_t off, uint64_t len, struct blk_extent *ret)
{
	struct blk_extent e;
	int r;

	assert(len > 0 && in_range(b, off, len));
	r = b->ops->extent(b, off, len, &e);
	if (r < 0)
		return r;
	assert(e.len > 0 && e.len <= len);
	*ret = e;
	return 0;
}

int blk_flush(struct blk *b)
{
	return b->ops->flush ? b->ops->flush(b) : 0;
}

int blk_changed(struct blk *b)
{
	return b->ops->changed ? b->ops->changed(b) : 0;
}

void blk_close(struct blk *b)
{
	b->ops->close(b);
}

/* What is known to be zero is not read. */
static int side_read(struct blk *b, enum blk_kind kind, unsigned char *buf,
	size_t len, uint64_t off)
{
	if (kind != BLK_ZERO)
		return blk_pread(b, buf, len, off);
	memset(buf, 0, len);
	return 0;
}

/* 1 and *ret_off if [off, off + len), of one kind on each side, differs */
static int compare_run(struct blk *a, enum blk_kind kind_a, struct blk *b,
	enum blk_kind kind_b, uint64_t off, uint64_t len, unsigned char *buf_a,
	unsigned char *buf_b, uint64_t *ret_off)
{
	while (len > 0) {
		size_t step = MIN_OF(len, (uint64_t)COMPARE_STEP);
		size_t i = 0;
		int r = side_read(a, kind_a, buf_a, step, off);

		if (r == 0)
			r = side_read(b, kind_b, buf_b, step, off);
		if (r < 0)
			return r;
		if (memcmp(buf_a, buf_b, step) != 0) {
			while (buf_a[i] == buf_b[i])
				i++;
			*ret_off = off + i;
			return 1;
		}
		off += step;
		len -= step;
	}
	return 0;
}

int blk_compare(struct blk *a, struct blk *b, uint64_t *ret_off)
{
	uint64_t end = MIN_OF(a->size, b->size);
	scoped(freep) unsigned char *buf_a = malloc(COMPARE_STEP);
	scoped(freep) unsigned char *buf_b = malloc(COMPARE_STEP);
	struct blk_extent ea, eb;

	if (!buf_a || !buf_b)
		return fail(ENOMEM, "%s: compare: %m", a->name);
	for (uint64_t off = 0; off < end; off += eb.len) {
		int r = blk_extent(a, off, end - off, &ea);

		if (r == 0)
			r = blk_extent(b, off, ea.len, &eb);
		if (r < 0)
			return r;
		if (ea.kind == BLK_ZERO && eb.kind == BLK_ZERO)
			continue;
		r = compare_run(a, ea.kind, b, eb.kind, off, eb.len, buf_a,
			buf_b, ret_off);
		if (r != 0)
			return r;
	}
	if (a->size == b->size)
		return 0;
	*ret_off = end;
	return 1;
}

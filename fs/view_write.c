/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/view_write.h"

#include <errno.h>

#include "fs/viewmeta.h"
#include "src/bytes.h"

#define ZERO_STEP (UINT64_C(16) << 30)

static const uint8_t zeroes[64 << 10];

/* A range of the file, cut where the disk's bytes begin and end. */
struct parts {
	struct part before, disk, behind;
};

static struct parts parts_of(const struct layout *l, uint64_t off, uint64_t end)
{
	uint64_t disk_end = l->prefix + l->disk;

	return (struct parts){
		.before = part_within(off, end, 0, l->prefix),
		.disk = part_within(off, end, l->prefix, disk_end),
		.behind = part_within(off, end, disk_end, layout_size(l)),
	};
}

static int write_disk(
	struct view *v, uint64_t off, uint64_t len, const uint8_t *buf)
{
	struct open_clone *o = branch_open(v->branch);
	int r = open_clone_admit(o);

	if (r == 0)
		r = live_write(view_live(v), off, (uint32_t)len, buf);
	if (r == 0) {
		open_clone_wrote(o, len);
		branch_changed(v->branch);
	}
	return r;
}

/* In the order of the file; nothing at all if any of it is refused. */
static int write_parts(
	struct view *v, uint64_t off, const struct parts *p, const uint8_t *buf)
{
	const uint8_t *behind = buf + (p->behind.off - off);
	int r = 0;

	if (p->before.len)
		r = viewmeta_check(v, off, p->before.len, buf);
	if (r == 0 && p->behind.len)
		r = viewmeta_check(v, p->behind.off, p->behind.len, behind);
	if (r == 0 && p->before.len)
		r = viewmeta_write(v, off, p->before.len, buf);
	if (r == 0 && p->disk.len)
		r = write_disk(v, p->disk.off - v->layout.prefix, p->disk.len,
			buf + (p->disk.off - off));
	if (r == 0 && p->behind.len)
		r = viewmeta_write(v, p->behind.off, p->behind.len, behind);
	return r;
}

/* A file of metadata only, which may become longer. */
static int write_small(
	struct view *v, uint64_t off, size_t len, const uint8_t *buf)
{
	int r = 0;

	if (off > v->format->max_size || len > v->format->max_size - off)
		return -EFBIG;
	if (off + len > viewmeta_size(v))
		r = viewmeta_resize(v, off + len);
	if (r == 0)
		r = viewmeta_check(v, off, len, buf);
	return r < 0 ? r : viewmeta_write(v, off, len, buf);
}

int view_write(struct view *v, uint64_t off, size_t len, const uint8_t *buf)
{
	uint64_t size = layout_size(&v->layout);
	size_t n = off < size ? (size_t)MIN_OF(size - off, (uint64_t)len) : 0;
	struct parts parts = parts_of(&v->layout, off, off + n);

	if (v->format->max_size)
		return write_small(v, off, len, buf);
	if (!is_zero(buf + n, len - n))
		return -EFBIG;
	return write_parts(v, off, &parts, buf);
}

static int zero_metadata(struct view *v, const struct part *p)
{
	int r = 0;

	for (uint64_t at = 0; r == 0 && at < p->len; at += sizeof(zeroes)) {
		size_t n =
			(size_t)MIN_OF(p->len - at, (uint64_t)sizeof(zeroes));

		r = viewmeta_check(v, p->off + at, n, zeroes);
		if (r == 0)
			r = viewmeta_write(v, p->off + at, n, zeroes);
	}
	return r;
}

/* In portions that a reader or writer of the disk can wait for. */
static int zero_disk(struct view *v, uint64_t off, uint64_t len)
{
	struct open_clone *o = branch_open(v->branch);
	int r = 0;

	while (r == 0 && len) {
		uint64_t n = MIN_OF(len, ZERO_STEP - off % ZERO_STEP);

		r = open_clone_admit(o);
		if (r == 0)
			r = live_zero(view_live(v), off, n);
		open_clone_wrote(o, 0);
		off += n;
		len -= n;
		branch_changed(v->branch);
	}
	return r;
}

int view_zero(struct view *v, uint64_t off, uint64_t len)
{
	uint64_t size = viewmeta_size(v);
	uint64_t end = off < size ? off + MIN_OF(len, size - off) : off;
	struct part all = { off, end - off };
	struct parts p = parts_of(&v->layout, off, end);
	int r;

	if (v->format->max_size)
		return zero_metadata(v, &all);
	r = zero_metadata(v, &p.before);
	if (r == 0)
		r = zero_disk(v, p.disk.off - v->layout.prefix, p.disk.len);
	return r < 0 ? r : zero_metadata(v, &p.behind);
}

int view_resize(struct view *v, uint64_t size)
{
	if (v->format->max_size)
		return viewmeta_resize(v, size);
	return size == layout_size(&v->layout) ? 0 : -EPERM;
}

int view_sync(struct view *v)
{
	struct live *l = view_live(v);

	return l ? live_sync(l) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/view.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "repo/address.h"
#include "src/bytes.h"
#include "src/log.h"

/*
 * What zeroes are read from. Never written, and in no file, so that all of it
 * is the one zero page of the kernel.
 */
static uint8_t zeroes[1 << 20];

/* "web/disk0@2026-11-20T08:42:45Z"; owned, NULL if there is no memory */
static char *disk_address(const struct point *p, const struct point_disk *d)
{
	scoped(freep) char *address = address_text(p);
	size_t at = address ? strcspn(address, "@") : 0;
	char *name;

	if (!address || asprintf(&name, "%.*s/%s%s", (int)at, address, d->name,
				address + at) < 0)
		return NULL;
	return name;
}

int view_open(struct cache *c, const struct point *p, uint32_t disk,
	const struct format *f, struct view **ret)
{
	const struct point_disk *d = &p->disks.v[disk];
	scoped(freep) char *name = disk_address(p, d);
	scoped(freep) struct view *v = calloc(1, sizeof(*v));
	int r;

	if (!name || !v)
		return fail(ENOMEM, "disk %s: %m", d->name);
	r = f->layout(d->size, &v->layout);
	if (r == 0)
		r = disk_open(
			c, name, &d->root, d->size, d->sector_size, &v->disk);
	if (r < 0)
		return r;
	v->format = f;
	atomic_init(&v->n_refs, 1);
	*ret = take(v);
	return 0;
}

struct view *view_ref(struct view *v)
{
	atomic_fetch_add(&v->n_refs, 1);
	return v;
}

void view_put(struct view *v)
{
	if (atomic_fetch_sub(&v->n_refs, 1) != 1)
		return;
	disk_close(v->disk);
	free(v);
}

/* Room for N iovecs, before there are any. */
static int reserve(struct view_read *r, size_t n)
{
	if (n <= VIEW_FEW)
		return 0;
	r->iov = calloc(n, sizeof(*r->iov));
	return r->iov ? 0 : fail(ENOMEM, "read: %m");
}

static void add(struct view_read *r, const uint8_t *data, size_t len)
{
	/* an iovec has no const, as readv(2) uses it too */
	r->iov[r->n++] = (struct iovec){ (void *)(uintptr_t)data, len };
}

static void add_zeroes(struct view_read *r, size_t len)
{
	for (; len > sizeof(zeroes); len -= sizeof(zeroes))
		add(r, zeroes, sizeof(zeroes));
	add(r, zeroes, len);
}

struct part {
	uint64_t off, len;
};

/* What [off, end) has in common with [from, to). */
static struct part part_within(
	uint64_t off, uint64_t end, uint64_t from, uint64_t to)
{
	off = MAX_OF(off, from);
	end = MIN_OF(end, to);
	return (struct part){ off, off < end ? end - off : 0 };
}

int view_read(struct view *v, uint64_t off, size_t len, struct view_read *ret)
{
	const struct layout *l = &v->layout;
	uint64_t disk_end = l->prefix + l->disk, end = off + len;
	struct part prefix = part_within(off, end, 0, l->prefix);
	struct part disk = part_within(off, end, l->prefix, disk_end);
	struct part suffix = part_within(off, end, disk_end, layout_size(l));
	size_t n = 2;
	int r = 0;

	ret->n = 0;
	ret->iov = ret->few;
	ret->pieces = (struct pieces){ 0 };
	ret->metadata = NULL;
	if (disk.len)
		r = disk_read(v->disk, disk.off - l->prefix, (uint32_t)disk.len,
			&ret->pieces);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ret->pieces.n; i++)
		n += ret->pieces.v[i].data
			     ? 1
			     : ret->pieces.v[i].len / sizeof(zeroes) + 1;
	r = reserve(ret, n);
	if (r == 0 && prefix.len + suffix.len) {
		ret->metadata = malloc(prefix.len + suffix.len);
		if (!ret->metadata)
			r = fail(ENOMEM, "read: %m");
	}
	if (r < 0) {
		view_read_fini(ret);
		return r;
	}
	if (prefix.len) {
		v->format->metadata(l, prefix.off, prefix.len, ret->metadata);
		add(ret, ret->metadata, prefix.len);
	}
	for (size_t i = 0; i < ret->pieces.n; i++) {
		const struct piece *p = &ret->pieces.v[i];

		if (p->data)
			add(ret, p->data, p->len);
		else
			add_zeroes(ret, p->len);
	}
	if (suffix.len) {
		uint8_t *to = ret->metadata + prefix.len;

		v->format->metadata(l, suffix.off, suffix.len, to);
		add(ret, to, suffix.len);
	}
	return 0;
}

void view_read_fini(struct view_read *r)
{
	pieces_fini(&r->pieces);
	free(r->metadata);
	if (r->iov != r->few)
		free(r->iov);
	r->iov = r->few;
	r->metadata = NULL;
	r->n = 0;
}

int view_seek(struct view *v, uint64_t off, int whence, uint64_t *ret)
{
	const struct layout *l = &v->layout;
	uint64_t disk_end = l->prefix + l->disk;
	bool want_data = whence == SEEK_DATA;
	struct run run;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	if (off >= layout_size(l))
		return -ENXIO;
	if (off < l->prefix) {
		if (want_data) {
			*ret = off;
			return 0;
		}
		off = l->prefix;
	}
	while (off < disk_end) {
		int r = disk_run(v->disk, off - l->prefix, l->disk, &run);

		if (r < 0)
			return r;
		if (want_data == (run.kind != BLK_ZERO)) {
			*ret = off;
			return 0;
		}
		off += run.len;
	}
	/* the end of a file is a hole, and the suffix is data */
	if (want_data && !l->suffix)
		return -ENXIO;
	*ret = want_data ? off : layout_size(l);
	return 0;
}

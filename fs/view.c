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

#define ZERO_STEP (UINT64_C(16) << 30)

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
	r = f->layout(d->size, d->sector_size, &v->layout);
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

/* The point's disk below its own clone; a clone with a name needs none. */
static int open_base(struct view *v, struct cache *c, const struct point *p)
{
	const struct point_disk *d = &p->disks.v[v->number];
	scoped(freep) char *name = disk_address(p, d);
	int r = v->format->layout(d->size, d->sector_size, &v->layout);

	if (!name)
		return fail(ENOMEM, "disk %s: %m", d->name);
	return r < 0 ? r
		     : disk_open(c, name, &d->root, d->size, d->sector_size,
			       &v->disk);
}

/* It is ours; of which size it is may only be known now. */
static int open_ours(struct view *v)
{
	struct open_clone *o = branch_open(v->branch);
	struct live *l;

	if (v->number >= open_clone_disks(o))
		return -ENOENT;
	l = open_clone_disk(o, v->number);
	if (v->disk && v->layout.guest != live_size(l))
		return fail(EBADMSG, "clone of %s: has another size",
			v->disk->name);
	return v->format->layout(live_size(l), live_sector_size(l), &v->layout);
}

static int open_to_read(
	struct view *v, struct branches *all, const struct uuid *clone)
{
	int r;

	if (branch_open(v->branch))
		return open_ours(v);
	/* reading takes nothing away from a writer elsewhere */
	r = peek_init(&v->peek, all->cache, clone, v->number);
	if (r == -ENOENT && v->disk)
		return 0;
	if (r < 0)
		return r;
	v->peeks = true;
	if (v->disk && v->layout.guest != v->peek.size)
		return fail(EBADMSG, "clone of %s: has another size",
			v->disk->name);
	return v->format->layout(v->peek.size, v->peek.sector_size, &v->layout);
}

static int open_to_write(struct view *v, const struct point *p)
{
	int r = branch_take(v->branch, p);

	if (r == 0)
		r = open_ours(v);
	if (r == 0)
		r = branch_write_begin(v->branch, v->number, v->format);
	v->writes = r == 0;
	return r;
}

int view_open_clone(struct branches *all, const struct uuid *clone,
	const struct point *p, uint32_t disk, const struct format *f,
	bool writes, struct view **ret)
{
	struct view *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return fail(ENOMEM, "clone: %m");
	v->format = f;
	v->number = disk;
	atomic_init(&v->n_refs, 1);
	r = branch_get(all, clone, !p, &v->branch);
	if (r == 0 && p)
		r = open_base(v, all->cache, p);
	if (r == 0)
		r = writes ? open_to_write(v, p) : open_to_read(v, all, clone);
	if (r < 0)
		view_put(v);
	else
		*ret = v;
	return r;
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
	if (v->writes)
		branch_write_end(v->branch, v->number);
	if (v->peeks)
		peek_fini(&v->peek);
	if (v->branch)
		branch_put(v->branch);
	if (v->disk)
		disk_close(v->disk);
	free(v);
}

/* The clone's disk if the clone is ours, or NULL. */
static struct live *live_of(const struct view *v)
{
	struct open_clone *o = v->branch ? branch_open(v->branch) : NULL;
	struct live *l;

	if (!o || v->number >= open_clone_disks(o))
		return NULL;
	l = open_clone_disk(o, v->number);
	/* of one that was looked at before its name became another's */
	return live_size(l) == v->layout.guest ? l : NULL;
}

static int read_disk(
	struct view *v, uint64_t off, uint32_t len, struct pieces *ret)
{
	struct live *l = live_of(v);

	if (l)
		return live_read(l, off, len, ret);
	if (v->peeks)
		return peek_read(&v->peek, off, len, ret);
	return v->disk ? disk_read(v->disk, off, len, ret) : -ESTALE;
}

void view_prefetch(struct view *v, uint64_t off, uint64_t len)
{
	struct live *l = live_of(v);

	if (l)
		live_prefetch(l, off, len);
	else if (v->peeks)
		peek_prefetch(&v->peek, off, len);
	else if (v->disk)
		disk_prefetch(v->disk, off, len);
}

static int disk_extent(struct view *v, uint64_t off, struct blk_extent *ret)
{
	uint64_t end = v->layout.disk;
	struct live *l = live_of(v);
	struct run run;
	int r;

	if (l)
		return live_extent(l, off, end, ret);
	if (v->peeks)
		return peek_extent(&v->peek, off, end, ret);
	if (!v->disk)
		return -ESTALE;
	r = disk_run(v->disk, off, end, &run);
	if (r == 0)
		*ret = (struct blk_extent){ .len = run.len, .kind = run.kind };
	return r;
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
		r = read_disk(v, disk.off - l->prefix, (uint32_t)disk.len,
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
		r = v->format->metadata(l, &v->identity, NULL, prefix.off,
			prefix.len, ret->metadata);
		add(ret, ret->metadata, prefix.len);
	}
	for (size_t i = 0; i < ret->pieces.n; i++) {
		const struct piece *p = &ret->pieces.v[i];

		if (p->data)
			add(ret, p->data, p->len);
		else
			add_zeroes(ret, p->len);
	}
	if (r == 0 && suffix.len) {
		uint8_t *to = ret->metadata + prefix.len;

		r = v->format->metadata(
			l, &v->identity, NULL, suffix.off, suffix.len, to);
		add(ret, to, suffix.len);
	}
	if (r < 0)
		view_read_fini(ret);
	return r;
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
	struct blk_extent e;

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
		int r = disk_extent(v, off - l->prefix, &e);

		if (r < 0)
			return r;
		if (want_data == (e.kind != BLK_ZERO)) {
			*ret = off;
			return 0;
		}
		off += e.len;
	}
	/* the end of a file is a hole, and the suffix is data */
	if (want_data && !l->suffix)
		return -ENXIO;
	*ret = want_data ? off : layout_size(l);
	return 0;
}

/* The part of [off, off + len) that is the disk's, at its place there. */
static int writable_part(
	const struct view *v, uint64_t off, uint64_t len, struct part *ret)
{
	const struct layout *l = &v->layout;
	uint64_t disk_end = l->prefix + l->disk, end = off + len;

	if (off < l->prefix || (end > disk_end && l->suffix))
		return -EPERM;
	*ret = part_within(off, end, l->prefix, disk_end);
	ret->off -= l->prefix;
	return 0;
}

int view_write(struct view *v, uint64_t off, size_t len, const uint8_t *buf)
{
	struct open_clone *o = branch_open(v->branch);
	struct part part;
	int r = writable_part(v, off, len, &part);

	if (r < 0)
		return r;
	if (!is_zero(buf + part.len, len - part.len))
		return -EFBIG;
	if (!part.len)
		return 0;
	r = open_clone_admit(o);
	if (r == 0)
		r = live_write(open_clone_disk(o, v->number), part.off,
			(uint32_t)part.len, buf);
	if (r == 0)
		branch_changed(v->branch);
	return r;
}

int view_zero(struct view *v, uint64_t off, uint64_t len)
{
	struct open_clone *o = branch_open(v->branch);
	struct part part;
	int r = writable_part(v, off, len, &part);

	/* in portions that a reader or writer of the disk can wait for */
	while (r == 0 && part.len) {
		uint64_t n = MIN_OF(part.len, ZERO_STEP - part.off % ZERO_STEP);

		r = open_clone_admit(o);
		if (r == 0)
			r = live_zero(
				open_clone_disk(o, v->number), part.off, n);
		part.off += n;
		part.len -= n;
		branch_changed(v->branch);
	}
	return r;
}

int view_sync(struct view *v)
{
	struct live *l = live_of(v);

	return l ? live_sync(l) : 0;
}

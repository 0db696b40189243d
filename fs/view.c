/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/view.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/viewmeta.h"
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

/*
 * What of a file's metadata makes it another's: for ever the same for a disk of
 * a point, with its own clone, which goes on from it; and for a disk of a clone
 * with a name.
 */
static struct identity identify(const char *of, const void *key, size_t len,
	int64_t time, uint32_t disk)
{
	struct identity id = { .time = time };
	uint8_t b[16 + KEY_MAX + 4] = { 0 };
	struct digest d;

	memcpy(b, of, MIN_OF(strlen(of), 16u));
	memcpy(b + 16, key, len);
	put_le32(b + 16 + len, disk);
	d = digest_of(b, 16 + len + 4);
	memcpy(id.id.b, d.b, sizeof(id.id.b));
	return id;
}

/* The point's disk: as it is, or below the point's own clone. */
static int open_disk(struct view *v, struct cache *c, const struct point *p)
{
	const struct point_disk *d = &p->disks.v[v->number];
	struct key key = point_key(&p->id);
	int r;

	v->name = disk_address(p, d);
	v->disk_name = strdup(d->name);
	if (!v->name || !v->disk_name)
		return fail(ENOMEM, "disk %s: %m", d->name);
	v->identity = identify(
		"view of a point", key.b, key.len, p->id.time, v->number);
	r = v->format->layout(d->size, d->sector_size, &v->layout);
	return r < 0 ? r
		     : disk_open(c, v->name, &d->root, d->size, d->sector_size,
			       &v->disk);
}

/* A clone with a name: what of it does not change. */
static int open_named(
	struct view *v, struct cache *cache, const struct uuid *id)
{
	const struct clone_disk *d;
	struct clone c;
	int r = clone_get(cache_repo(cache), id, &c);

	if (r < 0)
		return r;
	d = v->number < c.disks.n ? &c.disks.v[v->number] : NULL;
	if (!d || !c.name) {
		clone_fini(&c);
		return -ENOENT;
	}
	if (asprintf(&v->name, "%s/%s", c.name, d->name) < 0)
		v->name = NULL;
	v->disk_name = strdup(d->name);
	/* another clone that gets this name has other streams */
	v->identity = identify("view of a clone", d->stream.b,
		sizeof(d->stream.b), c.created, v->number);
	clone_fini(&c);
	return v->name && v->disk_name ? 0 : fail(ENOMEM, "clone: %m");
}

/* NULL, logged, if there is no memory. */
static struct view *view_new(uint32_t disk, const struct format *f)
{
	struct view *v = calloc(1, sizeof(*v));

	if (!v) {
		fail(ENOMEM, "view: %m");
		return NULL;
	}
	v->format = f;
	v->number = disk;
	atomic_init(&v->n_refs, 1);
	return v;
}

int view_open(struct cache *c, const struct point *p, uint32_t disk,
	const struct format *f, const struct view_style *style,
	struct view **ret)
{
	struct view *v = view_new(disk, f);
	int r;

	if (!v)
		return -ENOMEM;
	r = open_disk(v, c, p);
	v->identity.name = v->disk_name;
	v->identity.vmfs = style->vmfs;
	if (r < 0)
		view_put(v);
	else
		*ret = v;
	return r;
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
	const struct view_style *style, bool writes, struct view **ret)
{
	struct view *v = view_new(disk, f);
	int r;

	if (!v)
		return -ENOMEM;
	r = branch_get(all, clone, !p, &v->branch);
	if (r == 0)
		r = p ? open_disk(v, all->cache, p)
		      : open_named(v, all->cache, clone);
	v->identity.name = v->disk_name;
	v->identity.vmfs = style->vmfs;
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
	if (v->writes && branch_write_end(v->branch, v->number, v->format))
		viewmeta_settle(v);
	if (v->peeks)
		peek_fini(&v->peek);
	if (v->branch)
		branch_put(v->branch);
	if (v->disk)
		disk_close(v->disk);
	free(v->disk_name);
	free(v->name);
	free(v);
}

struct live *view_live(const struct view *v)
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
	struct live *l = view_live(v);

	if (l)
		return live_read(l, off, len, ret);
	if (v->peeks)
		return peek_read(&v->peek, off, len, ret);
	return v->disk ? disk_read(v->disk, off, len, ret) : -ESTALE;
}

void view_prefetch(struct view *v, uint64_t off, uint64_t len)
{
	struct live *l = view_live(v);

	if (l)
		live_prefetch(l, off, len);
	else if (v->peeks)
		peek_prefetch(&v->peek, off, len);
	else if (v->disk)
		disk_prefetch(v->disk, off, len);
}

int view_extent(
	struct view *v, uint64_t off, uint64_t end, struct blk_extent *ret)
{
	struct live *l = view_live(v);
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

/* The metadata of a read, before the disk's bytes and behind them. */
static int read_metadata(struct view *v, const struct part *before,
	const struct part *behind, uint8_t **ret)
{
	uint8_t *buf;
	int r = 0;

	if (before->len + behind->len == 0)
		return 0;
	buf = malloc(before->len + behind->len);
	if (!buf)
		return fail(ENOMEM, "read: %m");
	if (before->len)
		r = viewmeta_read(v, before->off, before->len, buf);
	if (r == 0 && behind->len)
		r = viewmeta_read(
			v, behind->off, behind->len, buf + before->len);
	if (r < 0)
		free(buf);
	else
		*ret = buf;
	return r;
}

static size_t iovs_of(const struct pieces *p)
{
	size_t n = 2;

	for (size_t i = 0; i < p->n; i++)
		n += p->v[i].data ? 1 : p->v[i].len / sizeof(zeroes) + 1;
	return n;
}

int view_read(struct view *v, uint64_t off, size_t len, struct view_read *ret)
{
	const struct layout *l = &v->layout;
	uint64_t disk_end = l->prefix + l->disk, end = off + len;
	struct part before, behind, disk;
	int r = 0;

	if (l->disk) {
		before = part_within(off, end, 0, l->prefix);
		behind = part_within(off, end, disk_end, layout_size(l));
	} else {
		before = part_within(off, end, 0, viewmeta_size(v));
		behind = (struct part){ 0 };
	}
	disk = part_within(off, end, l->prefix, disk_end);
	ret->n = 0;
	ret->iov = ret->few;
	ret->pieces = (struct pieces){ 0 };
	ret->metadata = NULL;
	if (disk.len)
		r = read_disk(v, disk.off - l->prefix, (uint32_t)disk.len,
			&ret->pieces);
	if (r < 0)
		return r;
	r = reserve(ret, iovs_of(&ret->pieces));
	if (r == 0)
		r = read_metadata(v, &before, &behind, &ret->metadata);
	if (r < 0) {
		view_read_fini(ret);
		return r;
	}
	if (before.len)
		add(ret, ret->metadata, before.len);
	for (size_t i = 0; i < ret->pieces.n; i++) {
		const struct piece *p = &ret->pieces.v[i];

		if (p->data)
			add(ret, p->data, p->len);
		else
			add_zeroes(ret, p->len);
	}
	if (behind.len)
		add(ret, ret->metadata + before.len, behind.len);
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

/* What begins at OFF of the file, and where it ends. */
static int file_extent(
	struct view *v, uint64_t off, uint64_t size, struct blk_extent *ret)
{
	const struct layout *l = &v->layout;
	uint64_t disk_end = l->prefix + l->disk, pad_end = disk_end + l->pad;
	int r;

	*ret = (struct blk_extent){ .kind = BLK_DATA };
	if (!l->disk) {
		ret->len = size - off;
	} else if (off < l->prefix) {
		ret->len = l->prefix - off;
	} else if (off < disk_end) {
		r = view_extent(v, off - l->prefix, l->disk, ret);
		return r;
	} else if (off < pad_end) {
		ret->len = pad_end - off;
		if (!viewmeta_written(v, off, pad_end))
			ret->kind = BLK_ZERO;
	} else {
		ret->len = size - off;
	}
	return 0;
}

int view_seek(struct view *v, uint64_t off, int whence, uint64_t *ret)
{
	uint64_t size = viewmeta_size(v);
	bool want_data = whence == SEEK_DATA;
	struct blk_extent e;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	if (off >= size)
		return -ENXIO;
	for (; off < size; off += e.len) {
		int r = file_extent(v, off, size, &e);

		if (r < 0)
			return r;
		if (want_data == (e.kind != BLK_ZERO)) {
			*ret = off;
			return 0;
		}
	}
	/* the end of a file is a hole */
	if (want_data)
		return -ENXIO;
	*ret = size;
	return 0;
}

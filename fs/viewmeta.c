/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/viewmeta.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "src/bytes.h"
#include "src/log.h"

/* A file is written to in pieces of this, as records of streams have them. */
#define STEP WRECORD_SIDE_MAX

static bool has_length(struct view *v, uint64_t *ret)
{
	struct live *l = view_live(v);

	if (l)
		return side_length(live_side(l), v->format->number, ret);
	return v->peeks && peek_length(&v->peek, v->format->number, ret);
}

uint64_t viewmeta_size(struct view *v)
{
	uint64_t size;

	/* that of others is what their layout says */
	return v->format->max_size && has_length(v, &size)
		       ? size
		       : layout_size(&v->layout);
}

static int disk_extent(
	void *arg, uint64_t off, uint64_t len, struct blk_extent *ret)
{
	return view_extent(arg, off, off + len, ret);
}

/* What the format makes; of a clone no range is left out, as it may change. */
static int made(struct view *v, uint64_t off, size_t len, uint8_t *out)
{
	const struct format_disk disk = { disk_extent, v };
	uint64_t size = layout_size(&v->layout);
	size_t n = off < size ? MIN_OF(len, (size_t)(size - off)) : 0;

	memset(out + n, 0, len - n);
	return n == 0 ? 0
		      : v->format->metadata(&v->layout, &v->identity,
				v->branch ? NULL : &disk, off, n, out);
}

int viewmeta_read(struct view *v, uint64_t off, size_t len, uint8_t *out)
{
	struct live *l = view_live(v);
	uint64_t length;
	int r = 0;

	/* of a file that was given a length nothing is made any more */
	if (!v->format->max_size || !has_length(v, &length))
		r = made(v, off, len, out);
	if (r < 0)
		return r;
	if (l)
		side_read(live_side(l), v->format->number, off, len, out);
	else if (v->peeks)
		peek_read_side(&v->peek, v->format->number, off, len, out);
	return 0;
}

bool viewmeta_written(struct view *v, uint64_t off, uint64_t end)
{
	struct live *l = view_live(v);

	if (l)
		return side_any(live_side(l), v->format->number, off, end);
	return v->peeks && peek_any(&v->peek, v->format->number, off, end);
}

int viewmeta_check(
	struct view *v, uint64_t off, size_t len, const uint8_t *bytes)
{
	int r = v->format->check_write
			? v->format->check_write(&v->layout, off, len, bytes)
			: 0;

	if (r < 0 && !atomic_exchange(&v->refused, true))
		log_error("%s%s: %zu bytes at %" PRIu64
			  " would move the disk within the file: refused",
			v->name, v->format->ending, len, off);
	return r;
}

static int note(struct view *v, enum wrecord_kind kind, uint64_t off,
	uint64_t len, const uint8_t *bytes)
{
	struct wrecord record = {
		.space = v->format->number, .kind = kind, .off = off, .len = len
	};
	struct open_clone *o = branch_open(v->branch);
	int r = open_clone_admit(o);

	if (r == 0)
		r = live_write_side(view_live(v), &record, bytes);
	if (r == 0) {
		open_clone_wrote(o, bytes ? len : 0);
		branch_changed(v->branch);
	}
	return r;
}

/* Are these the bytes that are there? Then nothing need be kept. */
static bool is_there(
	struct view *v, uint64_t off, size_t len, const uint8_t *bytes)
{
	scoped(freep) uint8_t *now = malloc(len);

	return now && viewmeta_read(v, off, len, now) == 0 &&
	       memcmp(now, bytes, len) == 0;
}

int viewmeta_write(
	struct view *v, uint64_t off, size_t len, const uint8_t *bytes)
{
	int r = 0;

	for (size_t at = 0; r == 0 && at < len; at += STEP) {
		size_t n = MIN_OF(len - at, (size_t)STEP);

		if (!is_there(v, off + at, n, bytes + at))
			r = note(v, WRECORD_DATA, off + at, n, bytes + at);
	}
	return r;
}

int viewmeta_resize(struct view *v, uint64_t size)
{
	scoped(freep) uint8_t *keep = NULL;
	uint64_t length, was = viewmeta_size(v);
	size_t n = (size_t)MIN_OF(size, was);
	int r = 0;

	if (size > v->format->max_size)
		return -EFBIG;
	if (size == was)
		return 0;
	/* with the first length, nothing is made any more: what is shown is
	 * what was kept */
	if (n && !has_length(v, &length)) {
		keep = malloc(n);
		r = keep ? viewmeta_read(v, 0, n, keep)
			 : fail(ENOMEM, "%s: %m", v->name);
		if (r == 0)
			r = note(v, WRECORD_DATA, 0, n, keep);
	}
	return r < 0 ? r : note(v, WRECORD_LENGTH, 0, size, NULL);
}

static bool leads(const struct view *v, const uint8_t *bytes, size_t len)
{
	return !v->format->leads || v->format->leads(bytes, len);
}

int viewmeta_replace(struct view *v, const uint8_t *bytes, size_t len)
{
	int r = len > v->format->max_size ? -EFBIG : 0;

	if (r == 0 && !leads(v, bytes, len))
		r = fail(EIO,
			"%s%s: what is to replace it does not lead to the "
			"disk: refused",
			v->name, v->format->ending);
	if (r == 0 && len)
		r = note(v, WRECORD_DATA, 0, len, bytes);
	return r < 0 ? r : note(v, WRECORD_LENGTH, 0, len, NULL);
}

void viewmeta_settle(struct view *v)
{
	scoped(freep) uint8_t *now = NULL;
	uint64_t length, size = viewmeta_size(v);

	if (!has_length(v, &length) && !viewmeta_written(v, 0, size))
		return;
	now = malloc(size + 1);
	/* qemu-img goes on, and calls it a success, when its header is refused
	 */
	if (!now || viewmeta_read(v, 0, size, now) < 0 ||
		(leads(v, now, size) && !atomic_load(&v->refused)))
		return;
	log_error("%s%s: what was written to it does not lead to the disk any "
		  "more: it is as it was made",
		v->name, v->format->ending);
	if (viewmeta_forget(v) < 0)
		log_error("%s%s: and stays so", v->name, v->format->ending);
}

int viewmeta_forget(struct view *v)
{
	return note(v, WRECORD_FORGET, 0, 0, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/export.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "src/bytes.h"
#include "src/log.h"
#include "src/pool.h"

#define STEP (UINT64_C(4) << 20) /* of metadata */
#define PIECE (UINT64_C(64) << 10)
#define UNITS_MAX (UINT64_C(1) << 20)
#define LEAD_MAX 512u

struct survey {
	const struct export_disk *disk;
	uint64_t block, unit;
	struct present *present;
	pthread_mutex_t lock; /* lost */
	struct lost_ranges *lost;
};

static int note_lost(struct survey *s, uint64_t off, uint64_t len)
{
	int r = 0;

	if (!s->lost)
		return 0;
	pthread_mutex_lock(&s->lock);
	r = lost_add(s->lost, s->disk->from.name, off, len);
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* A unit is a multiple of 64 blocks, so no other thread sets their bits. */
static int survey_unit(void *arg, uint64_t i, unsigned thread)
{
	struct survey *s = arg;
	uint64_t off = i * s->unit;
	uint64_t end = MIN_OF(restore_size(&s->disk->from), off + s->unit);
	struct blk_extent e;

	(void)thread;
	for (; off < end; off += e.len) {
		int r = atomic_load(s->disk->from.cancel) ? -ECANCELED : 0;

		if (r == 0)
			r = restore_extent(&s->disk->from, off, end, &e);
		if (r == 0 && e.kind == BLK_LOST)
			r = note_lost(s, off, e.len);
		if (r < 0)
			return r;
		if (e.kind != BLK_DATA)
			continue;
		for (uint64_t b = off / s->block;
			b <= (off + e.len - 1) / s->block; b++)
			present_set(s->present, b);
	}
	return 0;
}

int export_present(const struct export_disk *e, uint64_t block,
	struct lost_ranges *lost, struct present **ret)
{
	uint64_t size = restore_size(&e->from);
	struct survey s = { .disk = e,
		.block = block,
		.unit = round_up(size / UNITS_MAX + 1, 64 * block),
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.lost = lost };
	int r = present_new((size + block - 1) / block, &s.present);

	if (r < 0)
		return r == -EFBIG ? fail(EFBIG, "%s: too large", e->from.name)
				   : r;
	r = parallel_for(e->from.n_threads, (size + s.unit - 1) / s.unit,
		survey_unit, &s);
	if (r < 0) {
		present_free(s.present);
		return r;
	}
	if (lost)
		lost_sort(lost);
	present_count(s.present);
	*ret = s.present;
	return 0;
}

/* The disk's bytes as a restore writes them, at their places in the file. */
struct placed {
	struct blk blk; /* first */
	struct blk *to;
	uint64_t prefix;
	const struct packed *packed; /* NULL: linear behind the prefix */
};

static int placed_pwrite(
	struct blk *b, const void *buf, size_t len, uint64_t off)
{
	struct placed *p = (struct placed *)b;
	const uint8_t *data = buf;
	int r = 0;

	if (!p->packed)
		return blk_pwrite(p->to, buf, len, p->prefix + off);
	while (r == 0 && len > 0) {
		uint64_t block = off / p->packed->block;
		uint64_t within = off % p->packed->block;
		size_t n = MIN_OF(len, p->packed->block - within);

		assert(present_has(p->packed->present, block));
		r = blk_pwrite(p->to, data, n,
			packed_place(p->packed, block) + within);
		data += n;
		off += n;
		len -= n;
	}
	return r;
}

static const struct blk_ops placed_ops = { .pwrite = placed_pwrite };

static int write_disk(const struct export_disk *e, struct blk *to,
	uint64_t prefix, const struct packed *packed)
{
	struct placed p = { .blk = { .ops = &placed_ops,
				    .name = to->name,
				    .size = restore_size(&e->from),
				    .sector_size = e->sector_size },
		.to = to,
		.prefix = prefix,
		.packed = packed };

	return restore_to_blk(&e->from, &p.blk, true, false);
}

/* Zeroes are there already. */
static int put(struct blk *to, const uint8_t *buf, size_t len, uint64_t off)
{
	int r = 0;

	for (size_t at = 0; at < len && r == 0; at += PIECE) {
		size_t n = MIN_OF(len - at, PIECE);

		if (!is_zero(buf + at, n))
			r = blk_pwrite(to, buf + at, n, off + at);
	}
	return r;
}

struct metadata {
	const struct export_disk *disk;
	struct blk *to;
	const struct format *format;
	const struct layout *layout;
	const struct packed_format *packed_format; /* instead of those */
	const struct packed *packed;
};

static int write_metadata(struct metadata *m, uint64_t off, uint64_t end)
{
	scoped(freep) uint8_t *buf = malloc(STEP);
	int r = buf ? 0 : fail(ENOMEM, "%s: %m", m->to->name);

	while (r == 0 && off < end) {
		size_t len = MIN_OF(end - off, STEP);

		if (atomic_load(m->disk->from.cancel))
			return -ECANCELED;
		if (m->packed)
			m->packed_format->metadata(
				m->packed, &m->disk->identity, off, len, buf);
		else
			r = m->format->metadata(m->layout, &m->disk->identity,
				NULL, off, len, buf);
		if (r == 0)
			r = put(m->to, buf, len, off);
		off += len;
	}
	return r;
}

int export_plain(const struct export_disk *e, const struct format *f,
	const struct layout *l, struct blk *to)
{
	struct metadata m = { .disk = e, .to = to, .format = f, .layout = l };
	int r = l->disk ? write_disk(e, to, l->prefix, NULL) : 0;

	if (r < 0 || !f->metadata)
		return r;
	r = write_metadata(&m, 0, l->prefix);
	return r < 0 ? r
		     : write_metadata(&m, l->prefix + l->disk, layout_size(l));
}

static int write_leads(
	const struct export_disk *e, const struct packed *p, struct blk *to)
{
	uint8_t ones[LEAD_MAX];
	int r = 0;

	assert(p->lead <= sizeof(ones));
	memset(ones, 0xff, sizeof(ones));
	for (uint64_t i = 0; p->lead && i < p->present->n && r == 0; i++)
		r = atomic_load(e->from.cancel)
			    ? -ECANCELED
			    : blk_pwrite(to, ones, p->lead,
				      p->prefix + i * (p->lead + p->block));
	return r;
}

int export_packed(const struct export_disk *e, const struct packed_format *f,
	const struct packed *p, struct blk *to)
{
	struct metadata m = {
		.disk = e, .to = to, .packed_format = f, .packed = p
	};
	int r = write_disk(e, to, 0, p);

	if (r == 0)
		r = write_leads(e, p, to);
	if (r == 0)
		r = write_metadata(&m, 0, p->prefix);
	return r < 0 ? r
		     : write_metadata(&m, packed_blocks_end(p), packed_size(p));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/lost.h"

#include <inttypes.h>
#include <string.h>

#include "repo/disk.h"
#include "src/log.h"
#include "src/text.h"
#include "tools/json.h"

#define CACHE_LEN (16u << 20) /* only maps go through it */

uint64_t lost_bytes(const struct point *p)
{
	uint64_t n = 0;

	for (size_t i = 0; i < p->disks.n; i++)
		n += p->disks.v[i].stats.lost;
	return n;
}

int lost_add(
	struct lost_ranges *l, const char *disk, uint64_t off, uint64_t len)
{
	struct lost_range *last = l->n ? &l->v[l->n - 1] : NULL;

	if (last && last->disk == disk && last->off + last->len == off) {
		last->len += len;
		return 0;
	}
	if (vec_add(l, (struct lost_range){ disk, off, len }) < 0)
		return fail(ENOMEM, "%s: lost ranges: %m", disk);
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct lost_range *x = a;
	const struct lost_range *y = b;
	int by_disk = strcmp(x->disk, y->disk);

	return by_disk ? by_disk : (x->off > y->off) - (x->off < y->off);
}

void lost_sort(struct lost_ranges *l)
{
	size_t n = 0;

	if (l->n == 0)
		return;
	qsort(l->v, l->n, sizeof(l->v[0]), compare);
	for (size_t i = 1; i < l->n; i++) {
		struct lost_range *last = &l->v[n];

		if (last->disk == l->v[i].disk &&
			last->off + last->len == l->v[i].off)
			last->len += l->v[i].len;
		else
			l->v[++n] = l->v[i];
	}
	l->n = n + 1;
}

int lost_find(
	struct repo *r, const struct point_disk *d, struct lost_ranges *ret)
{
	scoped(cache_freep) struct cache *cache = NULL;
	scoped(disk_closep) struct disk *disk = NULL;
	struct run run;
	int err;

	if (d->stats.lost == 0)
		return 0;
	err = cache_new(r, CACHE_LEN, &cache);
	if (err == 0)
		err = disk_open(cache, d->name, &d->root, d->size,
			d->sector_size, &disk);
	if (err < 0)
		return err;
	for (uint64_t off = 0; off < d->size; off = run.off + run.len) {
		err = disk_run(disk, off, d->size, &run);
		if (err == 0 && run.kind == BLK_LOST)
			err = lost_add(ret, d->name, run.off, run.len);
		if (err < 0)
			return err;
	}
	return 0;
}

uint64_t lost_sum(const struct lost_ranges *l)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < l->n; i++)
		sum += l->v[i].len;
	return sum;
}

void lost_print(
	const struct lost_ranges *l, const char *what, FILE *to, bool json)
{
	char buf[16];

	for (size_t i = 0; i < l->n; i++) {
		const struct lost_range *x = &l->v[i];

		if (json)
			json_line(to, json_pack("{s:s, s:s, s:o, s:o}", "type",
					      what, "disk", x->disk, "offset",
					      json_bytes(x->off), "length",
					      json_bytes(x->len)));
		else
			fprintf(to,
				"%s: %s: offset %" PRIu64 ", length %" PRIu64
				" (%s)\n",
				x->disk, what, x->off, x->len,
				size_text(x->len, buf));
	}
}

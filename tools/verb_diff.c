/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "repo/address.h"
#include "repo/diff.h"
#include "src/exit.h"
#include "src/log.h"
#include "src/text.h"
#include "tools/json.h"
#include "tools/verb.h"

#define CACHE_LEN (64u << 20) /* only maps go through it */

struct diff {
	const struct cli *cli;
	struct repo *repo;
	struct cache *cache;
	struct address a, b;
	const char *disk; /* the one being compared */
	uint64_t n_extents, bytes, total_extents, total_bytes;
};

static const char *kind_name(enum blk_kind kind)
{
	switch (kind) {
	case BLK_DATA:
		return "data";
	case BLK_ZERO:
		return "zero";
	case BLK_LOST:
		return "lost";
	}
	return "?";
}

static int print_extent(
	void *arg, uint64_t off, uint64_t len, enum blk_kind kind)
{
	struct diff *d = arg;

	if (d->cli->json)
		json_line(stdout,
			json_pack("{s:s, s:s, s:o, s:o, s:s}", "type", "extent",
				"disk", d->disk, "offset", json_bytes(off),
				"length", json_bytes(len), "kind",
				kind_name(kind)));
	else if (d->n_extents + d->total_extents == 0)
		printf("%20s %14s  KIND  DISK\n", "OFFSET", "LENGTH");
	if (!d->cli->json)
		printf("%20" PRIu64 " %14" PRIu64 "  %s  %s\n", off, len,
			kind_name(kind), d->disk);
	d->n_extents++;
	d->bytes += len;
	/* an unread result ends it: the map may have millions of extents */
	return ferror(stdout) ? -EIO : 0;
}

static int open_disk(struct diff *d, struct address *a,
	const struct point_disk *p, struct disk **ret)
{
	scoped(freep) char *address = cli_address(d->repo, &a->point);

	return disk_open(
		d->cache, address, &p->root, p->size, p->sector_size, ret);
}

static int diff_pair(struct diff *d, const struct point_disk *pa,
	const struct point_disk *pb)
{
	scoped(disk_closep) struct disk *a = NULL;
	scoped(disk_closep) struct disk *b = NULL;
	int r;

	d->disk = pb->name;
	d->n_extents = d->bytes = 0;
	r = open_disk(d, &d->a, pa, &a);
	if (r == 0)
		r = open_disk(d, &d->b, pb, &b);
	if (r == 0)
		r = diff_disks(a, b, print_extent, d);
	if (r < 0)
		return r;
	d->total_extents += d->n_extents;
	d->total_bytes += d->bytes;
	return 0;
}

/* Both must have the disks of the other. */
static int same_disks(const struct diff *d, struct point *a, struct point *b)
{
	for (size_t i = 0; i < a->disks.n; i++)
		if (!point_disk(b, a->disks.v[i].name))
			return cli_usage(d->cli,
				"disk %s: only one of the points has it, so "
				"name a disk as MACHINE/DISK@WHEN",
				a->disks.v[i].name);
	return 0;
}

/* A disk named on one side only means that of the same name on the other. */
static int name_both(struct diff *d, struct address *from, struct address *to)
{
	if (from->disk && !to->disk) {
		to->disk = point_disk(&to->point, from->disk->name);
		if (!to->disk)
			return cli_usage(d->cli,
				"disk %s: only one of the points has it",
				from->disk->name);
	}
	return 0;
}

static int diff_all(struct diff *d)
{
	struct point *a = &d->a.point;
	struct point *b = &d->b.point;
	int r = name_both(d, &d->a, &d->b);

	if (r == 0)
		r = name_both(d, &d->b, &d->a);
	if (r != 0)
		return r;
	if (d->a.disk)
		return diff_pair(d, d->a.disk, d->b.disk);
	r = same_disks(d, a, b);
	if (r == 0)
		r = same_disks(d, b, a);
	for (size_t i = 0; i < a->disks.n && r == 0; i++)
		r = diff_pair(
			d, &a->disks.v[i], point_disk(b, a->disks.v[i].name));
	return r;
}

static void print_total(const struct diff *d)
{
	scoped(freep) char *a = cli_address(d->repo, &d->a.point);
	scoped(freep) char *b = cli_address(d->repo, &d->b.point);
	char n[16];

	if (d->cli->json)
		json_line(stdout,
			json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "type",
				"summary", "verb", "diff", "a", a, "b", b,
				"extents", json_bytes(d->total_extents),
				"changed", json_bytes(d->total_bytes)));
	else if (d->total_extents == 0)
		printf("no difference\n");
	else
		printf("%s in %" PRIu64 " extent%s\n",
			size_text(d->total_bytes, n), d->total_extents,
			d->total_extents == 1 ? "" : "s");
}

static int run(struct cli *c)
{
	scoped(repo_closep) struct repo *repo = NULL;
	scoped(cache_freep) struct cache *cache = NULL;
	struct diff d = { .cli = c };
	int r = cli_open(c, STORE_READ_ONLY, &repo);

	if (r == 0)
		r = cache_new(repo, CACHE_LEN, &cache);
	if (r == 0)
		r = address_resolve(repo, c->operands[0], &d.a);
	if (r < 0)
		return r;
	d.repo = repo;
	d.cache = cache;
	r = address_resolve(repo, c->operands[1], &d.b);
	if (r == 0) {
		r = diff_all(&d);
		if (r == 0)
			print_total(&d);
		address_fini(&d.b);
	}
	address_fini(&d.a);
	return r;
}

const struct verb verb_diff = {
	.name = "diff",
	.operands = "ADDRESS ADDRESS",
	.complete = "address",
	.min = 2,
	.max = 2,
	.summary = "List where two recovery points, or disks of them, differ",
	.text = "The extents are those of the second one; what it has there is "
		"data, zero or\nlost. They are found in the maps, without "
		"reading the disks, and are those of whole\nchunks, so that "
		"equal bytes may be among them.",
	.run = run,
};

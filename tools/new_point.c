/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/new_point.h"

#include "src/text.h"
#include "tools/json.h"
#include "tools/table.h"

static struct disk_stats sum(const struct point *p, uint64_t *ret_size)
{
	struct disk_stats t = { 0 };

	*ret_size = 0;
	for (size_t i = 0; i < p->disks.n; i++) {
		const struct disk_stats *s = &p->disks.v[i].stats;

		*ret_size += p->disks.v[i].size;
		t.read += s->read;
		t.data += s->data;
		t.fresh += s->fresh;
		t.stored += s->stored;
		t.changed += s->changed;
		t.lost += s->lost;
	}
	return t;
}

static uint64_t deduplicated(const struct disk_stats *s)
{
	return s->data > s->fresh ? s->data - s->fresh : 0;
}

static uint64_t rate(const struct new_point *n, uint64_t bytes)
{
	return n->seconds > 0 ? (uint64_t)((double)bytes / n->seconds) : 0;
}

static void print_json(const struct cli *c, const struct new_point *n)
{
	uint64_t size;
	struct disk_stats t = sum(n->point, &size);
	json_t *o = json_point(n->repo, n->point);

	json_object_set_new(o, "type", json_string("summary"));
	json_object_set_new(o, "verb", json_string(c->verb->name));
	if (n->clone)
		json_object_set_new(o, "clone", json_string(n->clone));
	json_object_set_new(o, "dry_run", json_boolean(n->dry_run));
	json_object_set_new(o, "size", json_bytes(size));
	json_object_set_new(o, "read", json_bytes(t.read));
	json_object_set_new(o, "new", json_bytes(t.fresh));
	json_object_set_new(o, "stored", json_bytes(t.stored));
	json_object_set_new(o, "deduplicated", json_bytes(deduplicated(&t)));
	json_object_set_new(o, "changed", json_bytes(t.changed));
	json_object_set_new(o, "lost", json_bytes(t.lost));
	json_object_set_new(o, "seconds", json_real(n->seconds));
	json_object_set_new(o, "rate", json_bytes(rate(n, t.read)));
	json_line(stdout, o);
}

static void add_row(struct table *t, const char *name, uint64_t size,
	const struct disk_stats *s)
{
	table_add(t, "%s", name);
	table_add_size(t, size);
	table_add_size(t, s->read);
	table_add_size(t, s->fresh);
	table_add_size(t, s->stored);
	table_add_size(t, deduplicated(s));
	table_add_size(t, s->changed);
}

static void print_text(const struct new_point *n)
{
	static const char *const heads[] = { "DISK", ">SIZE", ">READ", ">NEW",
		">STORED", ">DEDUPLICATED", ">CHANGED", NULL };
	const struct point *p = n->point;
	scoped(freep) char *address = cli_address(n->repo, p);
	struct table t = { .heads = heads };
	char alias[ALIAS_LEN + 1], r[16];
	uint64_t size;
	struct disk_stats all = sum(p, &size);

	if (n->dry_run)
		printf("%s: dry run, nothing was stored\n", p->machine);
	else
		printf("%s: new point, alias %s\n", address,
			point_alias(&p->id, alias));
	for (size_t i = 0; i < p->disks.n; i++)
		add_row(&t, p->disks.v[i].name, p->disks.v[i].size,
			&p->disks.v[i].stats);
	if (p->disks.n > 1)
		add_row(&t, "all", size, &all);
	table_print(&t, 2);
	printf("  %.1f s, %s/s\n", n->seconds, size_text(rate(n, all.read), r));
}

void new_point_print(const struct cli *c, const struct new_point *n)
{
	if (c->json)
		print_json(c, n);
	else if (!c->quiet)
		print_text(n);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "repo/listing.h"
#include "repo/machine.h"
#include "repo/point.h"
#include "repo/repo.h"
#include "src/log.h"
#include "tools/json.h"
#include "tools/table.h"
#include "tools/verb.h"

struct listing {
	const struct cli *cli;
	struct repo *repo;
	struct table table;
	uint64_t n_points, n_machines;
	int damaged; /* -EBADMSG once a point was, which hides no other */
};

/* What follows the @ of its address: of two in one second more than a time. */
static void add_time(struct listing *l, const struct point *p)
{
	scoped(freep) char *address = cli_address(l->repo, p);

	table_add(&l->table, "%s", strchr(address, '@') + 1);
}

static int visit_point(void *arg, const struct point *p)
{
	struct listing *l = arg;
	struct disk_stats t = { 0 };
	char alias[ALIAS_LEN + 1];
	uint64_t size = 0;

	l->n_points++;
	if (l->cli->json) {
		json_line(stdout, json_point(l->repo, p));
		return 0;
	}
	for (size_t i = 0; i < p->disks.n; i++) {
		size += p->disks.v[i].size;
		t.fresh += p->disks.v[i].stats.fresh;
		t.stored += p->disks.v[i].stats.stored;
		t.lost += p->disks.v[i].stats.lost;
	}
	add_time(l, p);
	table_add(&l->table, "%s", point_alias(&p->id, alias));
	table_add(&l->table, "%s", p->machine);
	table_add(&l->table, "%zu", p->disks.n);
	table_add_size(&l->table, size);
	table_add_size(&l->table, t.fresh);
	table_add_size(&l->table, t.stored);
	table_add(&l->table, "%s%s", consistency_name(p->consistency),
		t.lost ? ", ranges lost" : "");
	return 0;
}

static int visit_machine(void *arg, const char *name, const struct uuid *uuid)
{
	struct listing *l = arg;
	int r;

	(void)name;
	l->n_machines++;
	r = point_list(l->repo, uuid, false, visit_point, l);
	if (r == -EBADMSG)
		l->damaged = r;
	return r == -EBADMSG ? 0 : r;
}

static int list(struct listing *l)
{
	const struct cli *c = l->cli;
	struct uuid uuid;

	if (c->n == 0)
		return machine_list(l->repo, visit_machine, l);
	for (unsigned i = 0; i < c->n; i++) {
		int r = machine_get(l->repo, c->operands[i], &uuid);

		if (r == -ENOENT)
			return fail(ENOENT,
				"%s: no such machine; hivefs status "
				"lists them",
				c->operands[i]);
		if (r == 0)
			r = visit_machine(l, c->operands[i], &uuid);
		if (r < 0)
			return r;
	}
	return 0;
}

static int run(struct cli *c)
{
	static const char *const heads[] = { "TIME", "ALIAS", "MACHINE",
		">DISKS", ">SIZE", ">NEW", ">STORED", "CONSISTENCY", NULL };
	scoped(repo_closep) struct repo *repo = NULL;
	struct listing l = { .cli = c, .table.heads = heads };
	int r = cli_open(c, STORE_READ_ONLY, &repo);

	if (r < 0)
		return r;
	l.repo = repo;
	r = list(&l);
	table_print(&l.table, 0);
	/* what an index lost without a word is not in the list */
	if (r == 0 && listing_check(repo->store) < 0)
		l.damaged = -EBADMSG;
	if (r < 0)
		return r;
	if (c->json)
		json_line(stdout, json_pack("{s:s, s:s, s:I, s:I}", "type",
					  "summary", "verb", "points", "points",
					  (json_int_t)l.n_points, "machines",
					  (json_int_t)l.n_machines));
	else if (l.n_points == 0 && !c->quiet)
		printf("no points yet\n");
	return l.damaged;
}

const struct verb verb_points = {
	.name = "points",
	.operands = "[MACHINE]...",
	.complete = "machine",
	.max = 1000,
	.summary = "List recovery points, the newest last",
	.text = "NEW is what a point brought that the repository did not have, "
		"STORED what that\ntook there after compression.",
	.run = run,
};

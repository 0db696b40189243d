/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "src/text.h"
#include "tools/clone_arg.h"
#include "tools/json.h"
#include "tools/table.h"
#include "tools/verb.h"

struct listing {
	const struct cli *cli;
	struct repo *repo;
	struct table table;
	uint64_t n, unfolded;
	int damaged; /* -EBADMSG once one was, which hides no other */
};

static void add_base(struct listing *l, const struct clone *c)
{
	scoped(freep) char *address = NULL;
	char when[32];
	struct point p;

	if (point_get(l->repo, &c->base, &p) == 0) {
		address = cli_address(l->repo, &p);
		point_fini(&p);
		table_add(&l->table, "%s", address);
	} else {
		table_add(&l->table, "%s@%s, removed", c->machine,
			time_text(c->base.time, when));
	}
}

static void add_owner(struct listing *l, const struct clone *c)
{
	struct stream_owner o;

	if (clone_arg_owner(l->repo, c, &o) < 0)
		table_add(&l->table, "-");
	else if (o.host[0] == 0)
		table_add(&l->table, "another process");
	else
		table_add(&l->table, "%s, process %" PRId64 ", %s", o.host,
			o.pid, o.place);
}

static void print_json(
	struct listing *l, const struct clone *c, const uint64_t *unfolded)
{
	json_t *o = clone_arg_json(l->repo, c);

	json_object_set_new(
		o, "unfolded", unfolded ? json_bytes(*unfolded) : json_null());
	json_line(stdout, o);
}

/* UNFOLDED is NULL if its streams cannot be read. */
static void add_row(
	struct listing *l, const struct clone *c, const uint64_t *unfolded)
{
	scoped(freep) char *text = clone_arg_text(l->repo, c);
	char when[32];

	table_add(&l->table, "%s", text);
	add_base(l, c);
	table_add(&l->table, "%s", time_text(c->created, when));
	table_add(&l->table, "%zu", c->disks.n);
	if (unfolded)
		table_add_size(&l->table, *unfolded);
	else
		table_add(&l->table, "damaged");
	add_owner(l, c);
}

static int visit(void *arg, const struct clone *c)
{
	struct listing *l = arg;
	uint64_t unfolded = 0;
	int r = clone_arg_unfolded(l->repo, c, &unfolded);
	const uint64_t *known = r == 0 ? &unfolded : NULL;

	if (r == -ENOENT)
		return 0;
	if (r < 0 && r != -EBADMSG)
		return r;
	l->damaged = r < 0 ? r : l->damaged;
	l->n++;
	l->unfolded += unfolded;
	if (l->cli->json)
		print_json(l, c, known);
	else
		add_row(l, c, known);
	return 0;
}

static int run(struct cli *c)
{
	static const char *const heads[] = { "CLONE", "OF", "CREATED", ">DISKS",
		">UNFOLDED", "OPEN IN", NULL };
	scoped(repo_closep) struct repo *repo = NULL;
	struct listing l = { .cli = c, .table.heads = heads };
	int r = cli_open(c, STORE_READ_ONLY, &repo);

	if (r < 0)
		return r;
	l.repo = repo;
	r = clone_list(repo, visit, &l);
	table_print(&l.table, 0);
	if (r < 0 && r != -EBADMSG)
		return r;
	if (c->json)
		json_line(stdout,
			json_pack("{s:s, s:s, s:o, s:o}", "type", "summary",
				"verb", "clones", "clones", json_bytes(l.n),
				"unfolded", json_bytes(l.unfolded)));
	else if (l.n == 0 && !c->quiet)
		printf("no clones\n");
	return r < 0 ? r : l.damaged;
}

const struct verb verb_clones = {
	.name = "clones",
	.operands = "",
	.summary = "List the clones, a point's own and those with a name",
	.text = "UNFOLDED is what was written and not yet merged into the "
		"clone's maps.",
	.run = run,
};

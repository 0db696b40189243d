/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "repo/address.h"
#include "repo/label.h"
#include "src/exit.h"
#include "src/text.h"
#include "tools/clone_arg.h"
#include "tools/json.h"
#include "tools/lost.h"
#include "tools/say.h"
#include "tools/table.h"
#include "tools/verb.h"

static void print_head(struct repo *r, const struct point *p)
{
	scoped(freep) char *address = cli_address(r, p);
	char uuid[UUID_TEXT], alias[ALIAS_LEN + 1], time[32], end[32];

	printf("point        %s\n", address);
	printf("alias        %s\n", point_alias(&p->id, alias));
	printf("machine      %s (%s)\n", p->machine,
		uuid_text(&p->id.machine, uuid));
	printf("time         %s to %s (%.1f s)\n", time_text(p->id.time, time),
		time_text(p->end, end), (double)p->duration_ms / 1000);
	printf("parent       %s\n",
		p->has_parent ? point_alias(&p->parent, alias) : "none");
	printf("consistency  %s\n", consistency_name(p->consistency));
	say_line(stdout, "made by      hivefs %s on %s",
		p->version ? p->version : "?", p->host ? p->host : "?");
}

/* What is not known is left out. */
static void print_config(const struct machine_config *c)
{
	char memory[16];

	if (!machine_config_known(c))
		return;
	printf("config      ");
	if (c->memory)
		printf(" memory %s", size_text(c->memory, memory));
	if (c->cpus)
		printf(" cpus %" PRIu32, c->cpus);
	if (c->firmware)
		printf(" firmware %s", firmware_name(c->firmware));
	if (c->bus)
		printf(" bus %s", bus_name(c->bus));
	putchar('\n');
}

/* Those of MARKS that are bookmarks, which begin with #, or the others. */
static void print_marks(const char *head, const char *marks, bool bookmarks)
{
	bool any = false;

	for (const char *m = marks; *m;) {
		size_t len = strcspn(m, " ");

		if ((*m == '#') == bookmarks && len) {
			printf("%s %.*s", any ? "" : head, (int)len, m);
			any = true;
		}
		m += len + (m[len] == ' ');
	}
	if (any)
		putchar('\n');
}

static void print_label(struct repo *r, const struct point *p)
{
	struct label l;
	char until[32];

	if (label_get(r, &p->id, &l) < 0)
		return;
	print_marks("tags        ", l.marks, false);
	print_marks("bookmarks   ", l.marks, true);
	if (l.hold_until)
		printf("hold         until %s\n",
			time_text(l.hold_until, until));
}

static bool wanted(const struct address *a, const struct point_disk *d)
{
	return !a->disk || a->disk == d;
}

static void print_disks(const struct address *a)
{
	static const char *const heads[] = { "DISK", ">SIZE", ">SECTOR",
		">DATA", ">READ", ">NEW", ">STORED", ">CHANGED", ">LOST",
		"SOURCE", NULL };
	struct table t = { .heads = heads };

	for (size_t i = 0; i < a->point.disks.n; i++) {
		const struct point_disk *d = &a->point.disks.v[i];

		if (!wanted(a, d))
			continue;
		table_add(&t, "%s", d->name);
		table_add_size(&t, d->size);
		table_add(&t, "%" PRIu32, d->sector_size);
		table_add_size(&t, d->stats.data);
		table_add_size(&t, d->stats.read);
		table_add_size(&t, d->stats.fresh);
		table_add_size(&t, d->stats.stored);
		table_add_size(&t, d->stats.changed);
		table_add_size(&t, d->stats.lost);
		table_add(&t, "%s", d->source ? d->source : "");
	}
	putchar('\n');
	table_print(&t, 0);
}

/* Of the point that is shown. */
struct clones {
	const struct point *point;
	bool own;
	struct vec(char *) names;
};

static int visit_clone(void *arg, const struct clone *c)
{
	struct clones *all = arg;
	struct key base = point_key(&c->base);
	struct key point = point_key(&all->point->id);
	char *name;

	if (memcmp(base.b, point.b, POINT_ID_LEN) != 0)
		return 0;
	if (!c->name) {
		all->own = true;
		return 0;
	}
	name = strdup(c->name);
	if (!name || vec_add(&all->names, name) < 0)
		cli_no_memory();
	return 0;
}

static void print_clones(const struct clones *all)
{
	if (all->own)
		printf("written to   yes, to a clone of its own\n");
	for (size_t i = 0; i < all->names.n; i++)
		printf("%s%s", i ? ", " : "clones       ", all->names.v[i]);
	if (all->names.n)
		putchar('\n');
}

static void clones_fini(struct clones *all)
{
	for (size_t i = 0; i < all->names.n; i++)
		free(all->names.v[i]);
	vec_fini(&all->names);
}

static void print_json(
	struct repo *r, const struct address *a, const struct clones *clones)
{
	json_t *point = json_point(r, &a->point);
	size_t n = a->disk ? 1 : a->point.disks.n;
	json_t *names = json_array();

	for (size_t i = 0; i < clones->names.n; i++)
		json_array_append_new(names, json_string(clones->names.v[i]));
	json_object_set_new(point, "own_clone", json_boolean(clones->own));
	json_object_set_new(point, "clones", names);
	if (a->disk)
		json_object_set_new(point, "disks",
			json_pack("[o]", json_point_disk(a->disk)));
	json_line(stdout, point);
	json_line(stdout, json_pack("{s:s, s:s, s:I}", "type", "summary",
				  "verb", "show", "disks", (json_int_t)n));
}

static int show(struct cli *c, struct repo *repo, const struct address *a)
{
	struct clones clones = { .point = &a->point };
	struct lost_ranges lost = { 0 };
	/* a clone that is damaged is not this point's affair */
	int r = clone_list(repo, visit_clone, &clones);

	r = r == -EBADMSG ? 0 : r;
	if (!c->json && r == 0) {
		print_head(repo, &a->point);
		print_config(&a->point.config);
		print_label(repo, &a->point);
		print_clones(&clones);
		print_disks(a);
	}
	for (size_t i = 0; i < a->point.disks.n && r == 0; i++)
		if (wanted(a, &a->point.disks.v[i]))
			r = lost_find(repo, &a->point.disks.v[i], &lost);
	lost_print(&lost, "lost", stdout, c->json);
	vec_fini(&lost);
	if (r == 0 && c->json)
		print_json(repo, a, &clones);
	clones_fini(&clones);
	return r;
}

static int run(struct cli *c)
{
	scoped(repo_closep) struct repo *repo = NULL;
	struct address a = { 0 };
	int r = cli_open(c, STORE_READ_ONLY, &repo);

	if (r == 0)
		r = address_resolve(repo, c->operands[0], &a);
	if (r < 0)
		return r;
	r = show(c, repo, &a);
	address_fini(&a);
	return r;
}

const struct verb verb_show = {
	.name = "show",
	.operands = "ADDRESS",
	.complete = "address",
	.min = 1,
	.max = 1,
	.summary = "Show a recovery point, or one disk of it, in detail",
	.run = run,
};

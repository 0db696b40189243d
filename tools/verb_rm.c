/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "repo/address.h"
#include "repo/label.h"
#include "src/exit.h"
#include "src/log.h"
#include "tools/json.h"
#include "tools/verb.h"

struct options {
	bool dry_run, last, clock;
};

static const struct cli_option options[] = {
	{ "last", 0, CLI_FLAG, offsetof(struct options, last),
		.help = "also remove the last point that a machine has" },
	{ "clock-is-right", 0, CLI_FLAG, offsetof(struct options, clock),
		.help = "a hold has ended, though the clock is more than a day "
			"ahead of all that the repository knows of" },
	{ "dry-run", 0, CLI_FLAG, offsetof(struct options, dry_run),
		.help = "say which points would go" },
	{ 0 },
};

struct removal {
	struct cli *cli;
	struct repo *repo;
	struct vec(struct address) v;
};

static bool same_point(const struct point_id *a, const struct point_id *b)
{
	return memcmp(&a->machine, &b->machine, sizeof(a->machine)) == 0 &&
	       a->time == b->time &&
	       memcmp(&a->writer, &b->writer, sizeof(a->writer)) == 0;
}

static bool is_listed(const struct removal *m, const struct point_id *id)
{
	for (size_t i = 0; i < m->v.n; i++)
		if (same_point(&m->v.v[i].point.id, id))
			return true;
	return false;
}

/* All at first: removing one would change what latest~1 means. */
static int resolve_all(struct removal *m)
{
	for (unsigned i = 0; i < m->cli->n; i++) {
		struct address a;
		int r = address_resolve_any(m->repo, m->cli->operands[i], &a);

		if (r < 0)
			return r;
		if (a.disk)
			r = cli_usage(m->cli,
				"%s: names one disk, but a point goes as a "
				"whole",
				m->cli->operands[i]);
		else if (is_listed(m, &a.point.id))
			r = 1;
		else
			r = vec_add(&m->v, a);
		if (r == 0)
			continue;
		address_fini(&a);
		if (r == -ENOMEM)
			return fail(ENOMEM, "%s: %m", m->cli->operands[i]);
		if (r != 1)
			return r;
	}
	return 0;
}

static int find_other(void *arg, const struct point *p)
{
	return is_listed(arg, &p->id) ? 0 : 1;
}

static int check_last(struct removal *m)
{
	const struct options *o = m->cli->options;

	for (size_t i = 0; i < m->v.n && !o->last; i++) {
		const struct point *p = &m->v.v[i].point;
		int r = point_list(
			m->repo, &p->id.machine, true, find_other, m);

		/* a damaged one that would be left is none to count on */
		if (r < 0 && r != -EBADMSG)
			return r;
		if (r != 1)
			return cli_usage(m->cli,
				"%s: would have no point left; --last removes "
				"the last one too",
				p->machine);
	}
	return 0;
}

/* Before any of them goes. */
static int check_kept(struct removal *m)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->v.n; i++)
		r = point_removable(m->repo, &m->v.v[i].point.id);
	return r == -ENOENT ? 0 : r;
}

static void print_one(const struct removal *m, const struct point *p)
{
	const struct cli *c = m->cli;
	const struct options *o = c->options;
	scoped(freep) char *address = cli_address(m->repo, p);
	char alias[ALIAS_LEN + 1];

	if (c->json)
		json_line(stdout, json_pack("{s:s, s:s, s:s}", "type",
					  "removed", "address", address,
					  "alias", point_alias(&p->id, alias)));
	else if (!c->quiet)
		printf("%s: %s\n", address,
			o->dry_run ? "would be removed" : "removed");
}

static int remove_all(struct removal *m)
{
	const struct options *o = m->cli->options;

	for (size_t i = 0; i < m->v.n; i++) {
		const struct point *p = &m->v.v[i].point;
		int r = o->dry_run ? 0 : point_remove(m->repo, &p->id);

		/* somebody else was faster: it is gone all the same */
		if (r < 0 && r != -ENOENT)
			return r;
		print_one(m, p);
	}
	if (m->cli->json)
		json_line(stdout,
			json_pack("{s:s, s:s, s:b, s:I}", "type", "summary",
				"verb", "rm", "dry_run", (int)o->dry_run,
				"removed", (json_int_t)m->v.n));
	return EXIT_OK;
}

static int run(struct cli *c)
{
	const struct options *o = c->options;
	scoped(repo_closep) struct repo *repo = NULL;
	struct removal m = { .cli = c };
	int r = cli_open(
		c, o->dry_run ? STORE_READ_ONLY : STORE_SPEND_RESERVE, &repo);

	if (r < 0)
		return r;
	repo->trust_clock = o->clock;
	m.repo = repo;
	r = resolve_all(&m);
	if (r == 0)
		r = check_last(&m);
	if (r == 0)
		r = check_kept(&m);
	if (r == 0)
		r = remove_all(&m);
	for (size_t i = 0; i < m.v.n; i++)
		address_fini(&m.v.v[i]);
	vec_fini(&m.v);
	return r;
}

const struct verb verb_rm = {
	.name = "rm",
	.operands = "ADDRESS...",
	.complete = "address",
	.min = 1,
	.max = 1000,
	.summary = "Remove recovery points",
	.text = "Every point is a full one: others do not depend on it. The "
		"space comes back by\nhivefs gc. A point whose document is "
		"damaged goes by its time or alias.",
	.options = options,
	.options_size = sizeof(struct options),
	.run = run,
};

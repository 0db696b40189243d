/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/prune.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "repo/machine.h"
#include "src/exit.h"
#include "src/log.h"
#include "src/text.h"
#include "tools/json.h"
#include "tools/verb.h"

struct options {
	unsigned last, hourly, daily, weekly, monthly, yearly;
	const char *within, *tag;
	bool save, dry_run, explain, clock;
};

#define KEEP(name, member, text)                                               \
	{                                                                      \
		"keep-" name, 0, CLI_NUMBER, offsetof(struct options, member), \
			.arg = "N", .min = 1, .max = 1000000, .help = text     \
	}

static const struct cli_option options[] = {
	KEEP("last", last, "the last N points"),
	KEEP("hourly", hourly, "the last point of each of the last N hours"),
	KEEP("daily", daily, "the same of days"),
	KEEP("weekly", weekly, "the same of weeks"),
	KEEP("monthly", monthly, "the same of months"),
	KEEP("yearly", yearly, "the same of years"),
	{ "keep-within", 0, CLI_TEXT, offsetof(struct options, within),
		.arg = "SPAN",
		.help = "all that are at most this much older than the newest: "
			"36h, 30d, 8w, 1y" },
	{ "keep-tag", 0, CLI_TEXT, offsetof(struct options, tag),
		.arg = "TAG,...", .help = "all that have one of these tags" },
	{ "save", 0, CLI_FLAG, offsetof(struct options, save),
		.help = "remember the policy, for the machines named or for "
			"all, for when none is given" },
	{ "dry-run", 0, CLI_FLAG, offsetof(struct options, dry_run),
		.help = "say which points would go" },
	{ "explain", 0, CLI_FLAG, offsetof(struct options, explain),
		.help = "also say which points are kept, and why" },
	{ "clock-is-right", 0, CLI_FLAG, offsetof(struct options, clock),
		.help = "though it is more than a day ahead of all that the "
			"repository knows of" },
	{ 0 },
};

struct run {
	struct cli *cli;
	const struct options *options;
	struct repo *repo;
	struct policy line; /* as it was said */
	uint64_t n_kept, n_removed, n_machines;
	int damaged;
};

static int parse_tags(struct run *run, const char *text)
{
	struct policy *p = &run->line;
	char *rest;

	if (strlen(text) > POLICY_TAGS_MAX)
		return cli_usage(run->cli, "--keep-tag: too long");
	snprintf(p->tags, sizeof(p->tags), "%s", text);
	for (char *t = strtok_r(p->tags, ",", &rest); t;
		t = strtok_r(NULL, ",", &rest))
		if (!name_ok(t))
			return cli_usage(
				run->cli, "--keep-tag: '%s' is no tag", t);
	snprintf(p->tags, sizeof(p->tags), "%s", text);
	for (char *c = p->tags; *c; c++)
		if (*c == ',')
			*c = ' ';
	return EXIT_OK;
}

static int parse(struct run *run)
{
	const struct options *o = run->options;
	struct policy *p = &run->line;

	*p = (struct policy){ .last = o->last,
		.count = { [POLICY_HOURLY] = o->hourly,
			[POLICY_DAILY] = o->daily,
			[POLICY_WEEKLY] = o->weekly,
			[POLICY_MONTHLY] = o->monthly,
			[POLICY_YEARLY] = o->yearly } };
	if (o->within &&
		(duration_parse(o->within, &p->within) < 0 || p->within == 0))
		return cli_usage(run->cli,
			"--keep-within: '%s' is no span as 36h or 30d",
			o->within);
	if (o->save && !policy_says_something(p) && !o->tag)
		return cli_usage(run->cli, "--save: say a policy, as "
					   "--keep-daily 7 --keep-weekly 4");
	return o->tag ? parse_tags(run, o->tag) : EXIT_OK;
}

static int visit(void *arg, const struct point *p, bool keep, const char *why)
{
	struct run *run = arg;
	const struct options *o = run->options;
	scoped(freep) char *address = cli_address(run->repo, p);
	char alias[ALIAS_LEN + 1];

	*(keep ? &run->n_kept : &run->n_removed) += 1;
	if (run->cli->json)
		json_line(stdout,
			json_pack("{s:s, s:s, s:s, s:s, s:b, s:s}", "type",
				"point", "address", address, "alias",
				point_alias(&p->id, alias), "machine",
				p->machine, "keep", (int)keep, "why", why));
	else if (run->cli->quiet)
		return 0;
	else if (!keep)
		printf("%s: %s\n", address,
			o->dry_run ? "would be removed" : "removed");
	else if (o->explain)
		printf("%s: kept: %s\n", address, why);
	return 0;
}

/* What was said, else what is stored for the machine, else for all. */
static int find_policy(struct run *run, const char *name,
	const struct uuid *machine, struct policy *ret)
{
	int r = 0;

	if (policy_says_something(&run->line)) {
		*ret = run->line;
		return 0;
	}
	r = policy_load(run->repo, machine, ret);
	if (r == -ENOENT)
		r = policy_load(run->repo, NULL, ret);
	if (r == -ENOENT)
		return cli_usage(run->cli,
			"%s: there is no policy: say one, as --keep-daily 7 "
			"--keep-weekly 4, or save one with --save",
			name);
	return r;
}

static int prune_machine(void *arg, const char *name, const struct uuid *uuid)
{
	struct run *run = arg;
	const struct options *o = run->options;
	struct policy policy;
	char text[POLICY_TAGS_MAX + 200];
	int r = find_policy(run, name, uuid, &policy);

	if (r != 0)
		return r;
	if (o->explain && !run->cli->json && !run->cli->quiet)
		printf("%s: keep %s\n", name,
			policy_text(&policy, text, sizeof(text)));
	r = prune(&(struct prune){ .repo = run->repo,
		.machine = *uuid,
		.policy = &policy,
		.now = time(NULL),
		.dry_run = o->dry_run,
		.visit = visit,
		.arg = run });
	run->n_machines++;
	if (r == -EBADMSG) {
		log_error("%s: nothing was removed, since a point cannot be "
			  "read",
			name);
		run->damaged = r;
		r = 0;
	}
	return r;
}

static int each_named(struct run *run,
	int (*fn)(void *arg, const char *name, const struct uuid *uuid))
{
	const struct cli *c = run->cli;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < c->n; i++) {
		struct uuid uuid;

		r = machine_get(run->repo, c->operands[i], &uuid);
		if (r == -ENOENT)
			r = fail(ENOENT,
				"%s: no such machine; hivefs status lists them",
				c->operands[i]);
		if (r == 0)
			r = fn(run, c->operands[i], &uuid);
	}
	return r;
}

/* NAME: of a machine, or NULL for the policy of all. */
static int save_as(struct run *run, const char *name, const struct uuid *uuid)
{
	char text[POLICY_TAGS_MAX + 200];
	int r = policy_store(run->repo, uuid, &run->line);

	if (r == 0 && !run->cli->json && !run->cli->quiet)
		printf("%s: policy saved: keep %s\n",
			name ? name : "machines without one of their own",
			policy_text(&run->line, text, sizeof(text)));
	return r;
}

static int save_machine(void *arg, const char *name, const struct uuid *uuid)
{
	return save_as(arg, name, uuid);
}

static int save(struct run *run)
{
	if (!run->options->save || run->options->dry_run)
		return 0;
	if (run->cli->n)
		return each_named(run, save_machine);
	return save_as(run, NULL, NULL);
}

static void print_summary(const struct run *run)
{
	const struct options *o = run->options;

	if (run->cli->json)
		json_line(
			stdout, json_pack("{s:s, s:s, s:b, s:o, s:o, s:o}",
					"type", "summary", "verb", "prune",
					"dry_run", (int)o->dry_run, "machines",
					json_bytes(run->n_machines), "kept",
					json_bytes(run->n_kept), "removed",
					json_bytes(run->n_removed)));
	else if (!run->cli->quiet)
		printf("%" PRIu64 " point%s %s, %" PRIu64
		       " kept; hivefs gc frees the space\n",
			run->n_removed, plural(run->n_removed),
			o->dry_run ? "would be removed" : "removed",
			run->n_kept);
}

static int run(struct cli *c)
{
	scoped(repo_closep) struct repo *repo = NULL;
	struct run run = { .cli = c, .options = c->options };
	int r = parse(&run);

	if (r != EXIT_OK)
		return r;
	r = cli_open(c,
		run.options->dry_run ? STORE_READ_ONLY : STORE_SPEND_RESERVE,
		&repo);
	if (r < 0)
		return r;
	repo->trust_clock = run.options->clock;
	run.repo = repo;
	r = save(&run);
	if (r == 0)
		r = c->n ? each_named(&run, prune_machine)
			 : machine_list(repo, prune_machine, &run);
	if (r != 0)
		return r;
	print_summary(&run);
	return run.damaged;
}

const struct verb verb_prune = {
	.name = "prune",
	.operands = "[MACHINE]...",
	.complete = "machine",
	.max = 1000,
	.summary = "Remove the recovery points that a policy does not keep",
	.text = "A point goes unless one of the options keeps it. The newest "
		"of a machine is always\nkept, and so are those on hold, with "
		"a bookmark, or that were written to.",
	.options = options,
	.options_size = sizeof(struct options),
	.run = run,
};

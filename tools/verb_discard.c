/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "src/exit.h"
#include "src/log.h"
#include "src/text.h"
#include "tools/clone_arg.h"
#include "tools/drop.h"
#include "tools/json.h"
#include "tools/verb.h"

struct options {
	bool dry_run, takeover;
};

static const struct cli_option options[] = {
	{ "dry-run", 0, CLI_FLAG, offsetof(struct options, dry_run),
		.help = "say what would be lost" },
	{ "takeover", 0, CLI_FLAG, offsetof(struct options, takeover),
		.help = "also from an owner on a host that is dead (MongoDB)" },
	{ 0 },
};

/* What was folded is in the maps: how much that is, they tell by differing. */
static bool is_folded(struct repo *r, const struct clone *c)
{
	bool folded = false;
	struct point p;

	if (point_get(r, &c->base, &p) < 0)
		return true;
	for (size_t i = 0; i < c->disks.n && i < p.disks.n; i++)
		folded = folded ||
			 !digest_eq(&c->disks.v[i].root, &p.disks.v[i].root);
	point_fini(&p);
	return folded;
}

static void print(struct cli *c, struct repo *repo, const struct clone *clone,
	const char *text, uint64_t unfolded)
{
	const struct options *o = c->options;
	bool folded = is_folded(repo, clone);
	char size[16];
	json_t *json;

	if (c->json) {
		json = json_pack("{s:s, s:s, s:b, s:s, s:o, s:b}", "type",
			"summary", "verb", "discard", "dry_run",
			(int)o->dry_run, "clone", text, "unfolded",
			json_bytes(unfolded), "folded", (int)folded);
		json_line(stdout, json);
	} else if (!c->quiet) {
		printf("%s: %s: what was written to %zu disk%s since %s (%s%s)"
		       "\n",
			text, o->dry_run ? "would be lost" : "discarded",
			clone->disks.n, clone->disks.n == 1 ? "" : "s",
			time_text(clone->created, (char[32]){ 0 }),
			size_text(unfolded, size),
			folded ? ", and what is folded already" : "");
	}
}

static int discard(struct cli *c, struct repo *repo, struct clone *clone)
{
	const struct options *o = c->options;
	scoped(freep) char *text = clone_arg_text(repo, clone);
	struct stream_owner owner;
	uint64_t unfolded = 0;
	int r = clone_arg_wait(repo, clone, &owner);

	if (r == 0)
		return clone_arg_busy(text, &owner);
	if (r == -ENOENT)
		r = clone_arg_unfolded(repo, clone, &unfolded);
	/* what cannot be read can be dropped all the same */
	if (r == -EBADMSG)
		r = 0;
	if (r == 0 && !o->dry_run)
		r = drop_clone(c, repo, clone);
	if (r < 0)
		return r;
	print(c, repo, clone, text, unfolded);
	return EXIT_OK;
}

static int run(struct cli *c)
{
	const struct options *o = c->options;
	scoped(repo_closep) struct repo *repo = NULL;
	struct clone clone;
	int r = cli_open(c,
		(o->dry_run ? STORE_READ_ONLY : STORE_SPEND_RESERVE) |
			(o->takeover ? STORE_TAKEOVER : 0),
		&repo);

	if (r == 0)
		r = clone_arg_find(repo, c->operands[0], &clone);
	if (r < 0)
		return r;
	r = discard(c, repo, &clone);
	clone_fini(&clone);
	return r;
}

const struct verb verb_discard = {
	.name = "discard",
	.operands = "CLONE",
	.complete = "clone",
	.min = 1,
	.max = 1,
	.summary = "Drop a clone and what was written to it",
	.text = "CLONE is the name of one, or the address of a point that was "
		"written to. The\npoint itself stays. A clone that is open "
		"somewhere is refused (exit code 11).",
	.options = options,
	.options_size = sizeof(struct options),
	.run = run,
};

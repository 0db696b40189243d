/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "repo/open_clone.h"
#include "src/exit.h"
#include "src/monotonic.h"
#include "tools/clone_arg.h"
#include "tools/new_point.h"
#include "tools/remote.h"
#include "tools/verb.h"

#define CACHE_LEN (64u << 20)

struct options {
	bool takeover;
};

static const struct cli_option options[] = {
	{ "takeover", 0, CLI_FLAG, offsetof(struct options, takeover),
		.help = "also from an owner on a host that is dead (MongoDB)" },
	{ 0 },
};

static int commit_here(struct cli *c, struct repo *repo,
	const struct clone *clone, struct point *ret)
{
	struct stream_owner us = clone_arg_us(c);
	scoped(cache_freep) struct cache *cache = NULL;
	scoped(open_clone_closep) struct open_clone *open = NULL;
	int r = cache_new(repo, CACHE_LEN, &cache);

	if (r == 0)
		r = open_clone_take(cache, &clone->id, &us, &open);
	return r < 0 ? r : open_clone_commit(open, ret);
}

static int commit(struct cli *c, struct repo *repo, const struct clone *clone)
{
	scoped(freep) char *text = clone_arg_text(repo, clone);
	double begun = monotonic_seconds();
	struct stream_owner owner;
	struct point p;
	int r = clone_arg_owner(repo, clone, &owner);

	if (r == 0)
		r = remote_commit(repo, clone, &owner, &p);
	else if (r == -ENOENT)
		r = commit_here(c, repo, clone, &p);
	if (r < 0)
		return r;
	new_point_print(c, &(struct new_point){ .repo = repo,
				   .point = &p,
				   .seconds = monotonic_seconds() - begun,
				   .clone = text });
	point_fini(&p);
	return EXIT_OK;
}

static int run(struct cli *c)
{
	const struct options *o = c->options;
	scoped(repo_closep) struct repo *repo = NULL;
	struct clone clone;
	int r = cli_open(c, o->takeover ? STORE_TAKEOVER : 0, &repo);

	if (r == 0)
		r = clone_arg_find(repo, c->operands[0], &clone);
	if (r < 0)
		return r;
	r = commit(c, repo, &clone);
	clone_fini(&clone);
	return r;
}

const struct verb verb_commit = {
	.name = "commit",
	.operands = "CLONE",
	.complete = "clone",
	.min = 1,
	.max = 1,
	.summary = "Make a recovery point of what a clone is now",
	.text = "CLONE is the name of one, or the address of a point that was "
		"written to. All its\ndisks are taken at one instant, also "
		"while a mount has it open and a guest runs.\nThe clone goes "
		"on from there.",
	.options = options,
	.options_size = sizeof(struct options),
	.run = run,
};

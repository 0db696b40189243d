/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "repo/location.h"
#include "repo/repo.h"
#include "src/exit.h"
#include "src/url.h"
#include "tools/json.h"
#include "tools/say.h"
#include "tools/verb.h"

struct options {
	unsigned level;
};

static const struct cli_option options[] = {
	{ "compression", 0, CLI_NUMBER, offsetof(struct options, level),
		.arg = "LEVEL", .min = 1, .max = REPO_LEVEL_MAX,
		.help = "how hard zstd tries, 1 to 19; default 1: level 3 "
			"takes "
			"half as long again to save 4 % more" },
	{ 0 },
};

static int run(struct cli *c)
{
	const struct options *o = c->options;
	int level = o->level ? (int)o->level : REPO_LEVEL_DEFAULT;
	const char *named = c->n ? c->operands[0] : c->repo;
	scoped(freep) char *url = NULL, *public = NULL;
	char text[UUID_TEXT];
	struct uuid uuid;
	int r;

	if (c->n && c->repo && strcmp(c->operands[0], c->repo) != 0)
		return cli_usage(c, "two repositories are named, %s and %s",
			c->repo, c->operands[0]);
	r = repo_location(named, &url);
	if (r == 0)
		r = repo_location_prepare(named, url);
	if (r == 0)
		r = repo_init(url, level, &uuid);
	if (r < 0)
		return r;
	uuid_text(&uuid, text);
	public = url_public(url);
	if (!public)
		cli_no_memory();
	if (c->json)
		json_line(stdout, json_pack("{s:s, s:s, s:o, s:s, s:i}", "type",
					  "summary", "verb", "init",
					  "repository", json_text(public),
					  "uuid", text, "compression", level));
	else if (!c->quiet)
		say_line(stdout, "%s: new repository %s", public, text);
	return EXIT_OK;
}

const struct verb verb_init = {
	.name = "init",
	.operands = "[REPOSITORY]",
	.complete = "file",
	.max = 1,
	.summary = "Make a new repository",
	.options = options,
	.options_size = sizeof(struct options),
	.run = run,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/repo.h"
#include "src/exit.h"
#include "tools/json.h"
#include "tools/verb.h"

static int run(struct cli *c)
{
	if (c->json)
		json_line(
			stdout, json_pack("{s:s, s:s, s:s, s:i}", "type",
					"summary", "verb", "version", "version",
					HIVEFS_VERSION, "format", REPO_FORMAT));
	else
		printf("hivefs %s, repository format %d\n", HIVEFS_VERSION,
			REPO_FORMAT);
	return EXIT_OK;
}

const struct verb verb_version = {
	.name = "version",
	.operands = "",
	.summary = "Print the version, and the repository format it writes",
	.run = run,
};

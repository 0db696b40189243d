/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "repo/location.h"
#include "repo/store.h"
#include "src/exit.h"
#include "src/log.h"
#include "src/text.h"
#include "tools/json.h"
#include "tools/verb.h"

struct options {
	bool index;
};

static const struct cli_option options[] = {
	{ "index", 0, CLI_FLAG, offsetof(struct options, index),
		.help = "build the index of an embedded repository anew from "
			"its segments" },
	{ 0 },
};

static int run(struct cli *c)
{
	const struct options *o = c->options;
	scoped(freep) char *url = NULL;
	struct store_repair res = { 0 };
	char bytes[16];
	int r;

	if (!o->index)
		return cli_usage(c, "repair: say what, --index");
	r = repo_location(c->repo, &url);
	if (r == 0)
		r = store_repair_index(url, &res);
	if (r < 0)
		return r;
	if (c->json)
		json_line(stdout,
			json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "type",
				"summary", "verb", "repair", "segments",
				json_bytes(res.segments), "documents",
				json_bytes(res.documents), "damaged",
				json_bytes(res.damaged), "damaged_bytes",
				json_bytes(res.damaged_bytes)));
	else if (!c->quiet)
		printf("%s: index built from %" PRIu64 " segment%s, %" PRIu64
		       " document%s\n",
			url, res.segments, plural(res.segments), res.documents,
			plural(res.documents));
	if (res.damaged == 0)
		return EXIT_OK;
	log_error("%s: damaged: %" PRIu64 " record%s (%s); hivefs verify says "
		  "what it touches",
		url, res.damaged, plural(res.damaged),
		size_text(res.damaged_bytes, bytes));
	return EXIT_DAMAGE;
}

const struct verb verb_repair = {
	.name = "repair",
	.operands = "",
	.summary = "Rebuild what can be derived from the stored documents",
	.text = "Nothing else may have the repository open meanwhile (exit "
		"code 11).",
	.options = options,
	.options_size = sizeof(struct options),
	.run = run,
};

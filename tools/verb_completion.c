/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "src/bytes.h"
#include "src/exit.h"
#include "src/log.h"
#include "tools/completion.h"
#include "tools/json.h"
#include "tools/verb.h"

static const struct shell {
	const char *name;
	void (*print)(FILE *to);
} shells[] = {
	{ "bash", completion_bash },
	{ "zsh", completion_zsh },
	{ "fish", completion_fish },
};

static int print_json(const struct shell *s)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return fail(errno, "%s: %m", s->name);
	s->print(f);
	if (fclose(f) != 0) {
		free(text);
		return fail(ENOMEM, "%s: %m", s->name);
	}
	json_line(stdout,
		json_pack("{s:s, s:s, s:s, s:s}", "type", "summary", "verb",
			"completion", "shell", s->name, "script", text));
	free(text);
	return EXIT_OK;
}

static int run(struct cli *c)
{
	for (size_t i = 0; i < N_ELEMS(shells); i++) {
		if (strcmp(shells[i].name, c->operands[0]) != 0)
			continue;
		if (c->json)
			return print_json(&shells[i]);
		shells[i].print(stdout);
		return EXIT_OK;
	}
	return cli_usage(c, "'%s': is not bash, zsh or fish", c->operands[0]);
}

const struct verb verb_completion = {
	.name = "completion",
	.operands = "SHELL",
	.complete = "shell",
	.min = 1,
	.max = 1,
	.summary = "Print what makes bash, zsh or fish complete hivefs",
	.run = run,
};

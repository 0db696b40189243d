/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "src/exit.h"
#include "src/log.h"
#include "tools/help.h"
#include "tools/json.h"
#include "tools/verb.h"

static void overview(void)
{
	printf("hivefs keeps backups of virtual machines in a repository that "
	       "is a file system:\nany recovery point is mounted, booted or "
	       "restored directly.\n\n"
	       "Usage: hivefs VERB [OPTION]... ...\n"
	       "       hivefs [REPOSITORY] MOUNTPOINT [-o OPTIONS]\n\n"
	       "Verbs:\n");
	for (const struct verb *const *v = verbs; *v; v++)
		printf("  %-12s%s\n", (*v)->name, (*v)->summary);
	printf("\nA point is named MACHINE@WHEN, a disk of it "
	       "MACHINE/DISK@WHEN;"
	       " WHEN is latest,\nlatest~1, a time or the beginning of an "
	       "alias.\n"
	       "hivefs help VERB says more, as does the manual page hivefs(1)."
	       "\n");
}

static int unknown(const struct cli *c, const char *word)
{
	const char *names[64];
	const char *near;
	size_t n = 0;

	for (; n < sizeof(names) / sizeof(names[0]) && verbs[n]; n++)
		names[n] = verbs[n]->name;
	near = cli_nearest(word, names, n, sizeof(names[0]));
	if (near)
		return cli_usage(
			c, "'%s': no such verb, maybe %s is meant", word, near);
	return cli_usage(c, "'%s': no such verb", word);
}

static json_t *options_json(const struct cli_option *table)
{
	json_t *list = json_array();

	for (const struct cli_option *o = table; o && o->name; o++) {
		char letter[2] = { o->letter, 0 };

		json_array_append_new(list,
			json_pack("{s:s, s:s?, s:s?, s:s}", "name", o->name,
				"letter", o->letter ? letter : NULL, "argument",
				o->arg, "help", o->help));
	}
	return list;
}

static void print_json(const struct verb *v)
{
	json_line(stdout,
		json_pack("{s:s, s:s, s:s, s:s, s:o}", "type", "verb", "verb",
			v->name, "operands", v->operands, "summary", v->summary,
			"options", options_json(v->options)));
}

static int run_json(struct cli *c)
{
	for (const struct verb *const *v = verbs; *v; v++)
		if (c->n == 0 || *v == verb_find(c->operands[0]))
			print_json(*v);
	json_line(stdout,
		json_pack("{s:s, s:s, s:o}", "type", "summary", "verb", "help",
			"options", options_json(cli_global_options)));
	return EXIT_OK;
}

static int run(struct cli *c)
{
	const struct verb *v;

	if (c->json && (c->n == 0 || verb_find(c->operands[0])))
		return run_json(c);
	if (c->n == 0) {
		overview();
		return EXIT_OK;
	}
	v = verb_find(c->operands[0]);
	if (!v)
		return unknown(c, c->operands[0]);
	help_print(v);
	return EXIT_OK;
}

const struct verb verb_help = {
	.name = "help",
	.operands = "[VERB]",
	.complete = "verb",
	.max = 1,
	.summary = "Explain hivefs, or one verb",
	.run = run,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/exit.h"
#include "src/log.h"
#include "tools/cancel.h"
#include "tools/help.h"
#include "tools/message.h"
#include "tools/verb.h"

const struct verb *const verbs[] = {
	&verb_init,
	&verb_backup,
	&verb_points,
	&verb_show,
	&verb_diff,
	&verb_mount,
	&verb_clone,
	&verb_clones,
	&verb_commit,
	&verb_discard,
	&verb_restore,
	&verb_rm,
	&verb_status,
	&verb_verify,
	&verb_repair,
	&verb_version,
	&verb_completion,
	&verb_help,
	NULL,
};

const struct verb *verb_find(const char *name)
{
	for (const struct verb *const *v = verbs; *v; v++)
		if (strcmp((*v)->name, name) == 0)
			return *v;
	return NULL;
}

/* What people try first, in place of a verb. */
static const struct verb *by_option(const char *word)
{
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		return &verb_help;
	if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
		return &verb_version;
	return NULL;
}

bool is_verb(const char *word)
{
	return verb_find(word) || by_option(word);
}

/* --json may come behind the mistake that must be told as JSON. */
static bool wants_json(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}

static int run(struct cli *c)
{
	int code;

	if (c->quiet)
		log_set_level(LOG_LEVEL_WARN);
	if (c->verbose)
		/* NOLINTNEXTLINE(concurrency-mt-unsafe): the only thread */
		setenv("HIVEFS_DEBUG", "all", 0);
	code = c->verb->run(c);
	if (code == -ECANCELED && cancel_signal()) {
		log_error("%s: interrupted", c->verb->name);
		return EXIT_SIGNAL + cancel_signal();
	}
	if (code < 0)
		code = exit_code(code);
	/* a result that could not be written was not given */
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_OK)
		code = exit_code(fail(errno, "standard output: %m"));
	return code;
}

int verb_main(const char *repo, int argc, char **argv)
{
	struct cli c = { .repo = repo };
	int code;

	if (argc < 1) {
		fputs("Usage: hivefs VERB ..., or hivefs [REPOSITORY] "
		      "MOUNTPOINT [-o OPTIONS]; see hivefs help\n",
			stderr);
		return EXIT_USAGE;
	}
	c.verb = verb_find(argv[0]);
	if (!c.verb)
		c.verb = by_option(argv[0]);
	message_begin(wants_json(argc - 1, argv + 1));
	code = cli_parse(&c, argc - 1, argv + 1);
	if (code == EXIT_OK && c.help)
		help_print(c.verb);
	else if (code == EXIT_OK)
		code = run(&c);
	message_end(code);
	cli_fini(&c);
	return code;
}

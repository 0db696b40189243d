/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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
	&verb_boot,
	&verb_clone,
	&verb_clones,
	&verb_commit,
	&verb_discard,
	&verb_restore,
	&verb_export,
	&verb_rm,
	&verb_hold,
	&verb_tag,
	&verb_untag,
	&verb_bookmark,
	&verb_prune,
	&verb_gc,
	&verb_status,
	&verb_verify,
	&verb_repair,
	&verb_copy,
	&verb_doctor,
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

int verb_at(int argc, char **argv)
{
	int words = 1;

	for (int i = 0; i < argc && words > 0; i += words) {
		if (is_verb(argv[i]))
			return i;
		words = cli_global_words(argv[i]);
	}
	return 0;
}

/* What other programs call it. */
static const char *elsewhere(const char *word)
{
	static const struct {
		const char *word, *ours;
	} words[] = {
		{ "umount", "umount(8)" },
		{ "unmount", "umount(8)" },
		{ "list", "points" },
		{ "ls", "points" },
		{ "snapshots", "points" },
		{ "delete", "rm" },
		{ "remove", "rm" },
		{ "forget", "rm or prune" },
		{ "create", "init or backup" },
		{ "check", "verify" },
		{ "fsck", "verify or repair" },
		{ "info", "status or show" },
		{ "sync", "copy" },
		{ "push", "copy --to" },
		{ "pull", "copy --from" },
		{ "replicate", "copy" },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i].word, word) == 0)
			return words[i].ours;
	return NULL;
}

bool verb_mistyped(int argc, char **argv)
{
	const char *word = argv[0];
	const char *names[64];
	const char *near;
	bool alone = true;
	size_t n = 0;

	if (word[0] == '-' || strchr(word, '/'))
		return false;
	/* a mount point whose daemon has died is there, too: ENOTCONN */
	if (access(word, F_OK) == 0 || errno != ENOENT)
		return false;
	/* cppcheck-suppress arrayIndexOutOfBoundsCond ; ends with NULL */
	for (; n < sizeof(names) / sizeof(names[0]) && verbs[n]; n++)
		names[n] = verbs[n]->name;
	for (int i = 1; i < argc; i++)
		alone = alone && argv[i][0] == '-';
	near = elsewhere(word) ?: cli_nearest(word, names, n, sizeof(names[0]));
	if (!near && !alone)
		return false;
	log_error("'%s': neither a verb nor a directory%s%s%s; see hivefs help",
		word, near ? ", maybe " : "", near ? near : "",
		near ? " is meant" : "");
	return true;
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
	return code;
}

/* A result that could not be written was not given. */
static int finish_stdout(int code)
{
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
	message_begin(message_wants_json(argc - 1, argv + 1));
	code = cli_parse(&c, argc - 1, argv + 1);
	if (code == EXIT_OK && c.help)
		help_print(c.verb);
	else if (code == EXIT_OK)
		code = run(&c);
	code = finish_stdout(code);
	message_end(code);
	cli_fini(&c);
	return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli - the command line of a verb, from one table: what is accepted, --help
 * and the completions (tools/completion.h) all read it, so they cannot drift.
 *
 * Threads    one thread.
 * Errors     wrong usage is logged as one sentence and is EXIT_USAGE.
 */
#ifndef HIVEFS_CLI_H
#define HIVEFS_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/cleanup.h"

struct cli;

enum cli_type {
	CLI_FLAG,   /* bool */
	CLI_TEXT,   /* const char * */
	CLI_NUMBER, /* unsigned */
};

struct cli_option {
	const char *name; /* without the dashes; NULL ends a table */
	char letter;      /* short form, or 0 */
	enum cli_type type;
	size_t offset;     /* of its variable in the options' struct */
	const char *arg;   /* what --help calls its argument; NULL: a flag */
	const char *words; /* CLI_TEXT: the only values, or NULL: any */
	unsigned min, max; /* CLI_NUMBER */
	const char *help;
};

struct verb {
	const char *name;
	const char *operands; /* "MACHINE [DISK=]SOURCE..." */
	/*
	 * What completes each operand, the last one also those after it: of
	 * file, machine, address, clone, verb, shell, none. NULL: nothing
	 * does.
	 */
	const char *complete;
	unsigned min, max;   /* number of operands */
	const char *summary; /* one line */
	const char *text;    /* paragraphs of --help behind it, or NULL */
	const struct cli_option *options; /* NULL: only the global ones */
	size_t options_size;              /* of their struct */
	/*
	 * Returns an exit code, or a negative errno that means one
	 * (src/exit.h). NULL: main() runs it.
	 */
	int (*run)(struct cli *c);
};

/* A parsed command line. */
struct cli {
	const struct verb *verb;
	const char *repo; /* as it was said, or NULL */
	const char *progress;
	bool json, quiet, verbose, help;
	unsigned n;      /* operands */
	char **operands; /* followed by NULL */
	void *options;   /* zeroes and what was said; of verb->options_size */
};

/* Options that every verb has. */
extern const struct cli_option cli_global_options[];

/*
 * Parses ARGV (the words behind the verb; they are reordered) into RET, whose
 * verb is set. EXIT_OK or EXIT_USAGE, logged. cli_fini() in either case.
 */
int must_check cli_parse(struct cli *ret, int argc, char **argv);
void cli_fini(struct cli *c);

/* How many words the option WORD of every verb takes; 0: it is none. */
int cli_global_words(const char *word);

/* Logs "MESSAGE; see hivefs VERB --help" and returns EXIT_USAGE. */
int cli_usage(const struct cli *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * The one of N names (at every STRIDE bytes from FIRST) that WORD may be a slip
 * of, or NULL: at most a third of its letters are different.
 */
const char *cli_nearest(
	const char *word, const char *const *first, size_t n, size_t stride);

struct point;
struct repo;

/* Opens the repository that is meant; FLAGS are store_flags. */
int must_check cli_open(const struct cli *c, unsigned flags, struct repo **ret);

/*
 * Ends the program: where only results are being printed, nothing is half done.
 */
_Noreturn void cli_no_memory(void);

/* What to type to get P, for whoever reads it; owned. No memory: it exits. */
char *cli_address(struct repo *r, const struct point *p);

#endif

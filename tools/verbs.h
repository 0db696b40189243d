/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verbs - the table of what hivefs can do from the command line.
 */
#ifndef HIVEFS_VERBS_H
#define HIVEFS_VERBS_H

#include <stdbool.h>

/* Is WORD a verb of ours (and so no mount point)? */
bool is_verb(const char *word);

/*
 * Where the verb is in ARGV, behind options that every verb has; 0 if there is
 * none.
 */
int verb_at(int argc, char **argv);

/*
 * Is ARGV[0], which is nothing that is there, a slip of a verb? Logged if so.
 * If no operand follows it, it is no repository either.
 */
bool verb_mistyped(int argc, char **argv);

/*
 * Runs `hivefs [-r REPO] VERB …`, ARGV[0] being the verb. Returns the exit
 * code (src/exit.h).
 */
int verb_main(const char *repo, int argc, char **argv);

#endif

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
 * Runs `hivefs [-r REPO] VERB …`, ARGV[0] being the verb. Returns the exit
 * code (src/exit.h).
 */
int verb_main(const char *repo, int argc, char **argv);

#endif

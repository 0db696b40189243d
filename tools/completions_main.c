/* SPDX-License-Identifier: Apache-2.0 */
/*
 * completions - prints a completion at build time, to be installed: the same
 * as `hivefs completion SHELL`, without what only a mount needs.
 */
#include <stddef.h>

#include "tools/verbs.h"

int main(int argc, char **argv)
{
	char verb[] = "completion";
	char *words[] = { verb, argc > 1 ? argv[1] : NULL, NULL };

	return verb_main(NULL, argc > 1 ? 2 : 1, words);
}

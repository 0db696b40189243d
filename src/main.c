/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main - only dispatches: a verb, or a mount. The one file that sees both tops.
 */
#include <string.h>

#include "fs/mount.h"
#include "tools/verbs.h"

/* `-r REPO` or `--repo=REPO` before the verb; returns how many words it took.
 */
static int repo_option(int argc, char **argv, const char **ret)
{
	if (argc > 2 && (strcmp(argv[1], "-r") == 0 ||
				strcmp(argv[1], "--repo") == 0)) {
		*ret = argv[2];
		return 2;
	}
	if (argc > 1 && strncmp(argv[1], "--repo=", 7) == 0) {
		*ret = argv[1] + 7;
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *repo = NULL;
	int n = repo_option(argc, argv, &repo);

	argv[n] = argv[0];
	argv += n;
	argc -= n;
	if (argc > 1 && strcmp(argv[1], "mount") == 0)
		return mount_main(repo, argc - 1, argv + 1);
	if (argc < 2 || is_verb(argv[1]))
		return verb_main(repo, argc - 1, argv + 1);
	return mount_main(repo, argc, argv);
}

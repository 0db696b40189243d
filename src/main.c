/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main - only dispatches: a verb, or a mount. The one file that sees both tops.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fs/mount.h"
#include "src/exit.h"
#include "tools/message.h"
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

/*
 * Where a standard stream is closed, the next file that is opened would get its
 * number, and what is printed: a file of the repository, even. One that can
 * neither be read nor written as that stream takes the place.
 */
static bool keep_streams(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
			open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd)
			return false;
	return true;
}

/* `--json status` is `status --json`. */
static void verb_first(int argc, char **argv)
{
	int at = 1 + verb_at(argc - 1, argv + 1);
	char *verb = argv[at];

	memmove(argv + 2, argv + 1, (size_t)(at - 1) * sizeof(*argv));
	argv[1] = verb;
}

/* NAMED: by the verb. A daemon's own messages are no affair of message.h. */
static int mount(const char *repo, int argc, char **argv, bool named)
{
	bool json = message_wants_json(argc - 1, argv + 1);
	int code = EXIT_USAGE;

	if (json)
		message_begin(true);
	if (named || !verb_mistyped(argc - 1, argv + 1))
		code = mount_main(repo, argc, argv);
	if (json)
		message_end(code);
	return code;
}

int main(int argc, char **argv)
{
	const char *repo = NULL;
	int n;

	if (!keep_streams())
		return EXIT_ERROR;
	n = repo_option(argc, argv, &repo);
	argv[n] = argv[0];
	argv += n;
	argc -= n;
	if (argc > 1)
		verb_first(argc, argv);
	if (argc > 1 && strcmp(argv[1], "mount") == 0)
		return mount(repo, argc - 1, argv + 1, true);
	if (argc < 2 || is_verb(argv[1]))
		return verb_main(repo, argc - 1, argv + 1);
	return mount(repo, argc, argv, false);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said about mounting where verbs are listed. main() hands the words of
 * a mount to fs/, which parses them as mount(8) passes them.
 */
#include "tools/verb.h"

static const struct cli_option options[] = {
	{ "options", 'o', CLI_TEXT, 0, .arg = "OPTION[,OPTION]...",
		.help = "ro, formats=, cache=SIZE, uid=, gid=, umask=, "
			"allow_other and others (hivefs mount --help), and "
			"what fstab has for every file system" },
	{ "foreground", 'f', CLI_FLAG, 0,
		.help = "stay in the foreground, messages on stderr" },
	{ "debug", 'd', CLI_FLAG, 0,
		.help = "the same, and show every request" },
	{ 0 },
};

const struct verb verb_mount = {
	.name = "mount",
	.operands = "[REPOSITORY] MOUNTPOINT",
	.complete = "file",
	.min = 1,
	.max = 2,
	.summary = "Show all recovery points as files",
	.text = "The word mount may be left out. Unmount with umount or "
		"fusermount3 -u.",
	.options = options,
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exit - exit codes of every verb and of the mount; the man page lists them.
 * A code that a script does not know is a failure.
 */
#ifndef HIVEFS_EXIT_H
#define HIVEFS_EXIT_H

enum exit_code {
	EXIT_OK = 0,
	EXIT_ERROR = 1,
	EXIT_USAGE = 2,
	EXIT_WARNINGS = 3, /* finished, but not everything is as it should be */
	EXIT_DAMAGE = 4,
	EXIT_NO_REPOSITORY = 10,
	EXIT_BUSY = 11,
	EXIT_WRONG_KEY = 12,
	EXIT_NO_SPACE = 13,
	EXIT_HOLD = 14,
	EXIT_FORMAT = 15, /* made by a newer hivefs */
	EXIT_SIGNAL = 128 /* + number of the signal */
};

/* The code for what a function returned: 0 or a negative errno. */
int exit_code(int err);

#endif

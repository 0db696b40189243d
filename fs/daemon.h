/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon - a command that goes on in the background once it is of use, and
 * whose exit code until then is the true one.
 *
 * The fork comes first, before threads and before a repository is opened (LMDB
 * must not be open across one). Until the child is ready its messages go where
 * the parent's do.
 */
#ifndef HIVEFS_DAEMON_H
#define HIVEFS_DAEMON_H

#include <stdbool.h>

#include "src/cleanup.h"

struct daemon {
	int report; /* the child's end of a pipe; -1: stays in the foreground */
};

/*
 * 0 in the child, which goes on. 1 in the parent, once the child is ready or
 * has ended, with the exit code for the whole command.
 */
int must_check daemon_fork(struct daemon *d, int *ret_code);

/*
 * Lets the parent go, closes the terminal and sends messages to syslog from
 * here on. Nothing in the foreground. False if the parent is gone: who has
 * stopped it does not want the child either.
 */
bool daemon_ready(struct daemon *d);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_test - does a machine come up? `hivefs boot --headless` in a process of
 * its own, which cleans up behind itself whoever is killed.
 *
 * Threads    one thread; none may have been started.
 */
#ifndef HIVEFS_BOOT_TEST_H
#define HIVEFS_BOOT_TEST_H

#include <stdbool.h>

#include "tools/cli.h"

struct boot_test {
	const char *address;
	const char *until; /* what its console says when it is up */
	unsigned timeout;  /* seconds; 0: that of `hivefs boot` */
	char *const *more; /* options of `hivefs boot`, followed by NULL */
};

/*
 * 0 and whether it came up, which is also said, as a line or with --json as an
 * object of type "boot"; an exit code if that could not be tried.
 */
int must_check boot_test(
	const struct cli *c, const struct boot_test *test, bool *ret_up);

#endif

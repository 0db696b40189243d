/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_show - what `boot` would start, for people and other programs: a script
 * that mounts what has to be mounted, or a domain for libvirt.
 *
 * Ownership  borrows all that it is given.
 * Threads    one thread.
 * Errors     an exit code, or logged and negative.
 */
#ifndef HIVEFS_BOOT_SHOW_H
#define HIVEFS_BOOT_SHOW_H

#include "tools/cli.h"
#include "tools/vm.h"

struct boot_shown {
	const struct cli *cli;
	const struct vm *vm;
	const char *text;  /* what is started, for people */
	const char *url;   /* of the repository; may have a password */
	const char *mount; /* where it is mounted */
	bool makes_mount;  /* for this run only */
};

int must_check boot_show_domain(const struct boot_shown *s);

/* COMMAND is QEMU's. */
int must_check boot_show_command(
	const struct boot_shown *s, const struct words *command);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine - what is protected: a name, and a uuid that outlives it.
 */
#ifndef HIVEFS_MACHINE_H
#define HIVEFS_MACHINE_H

#include <stdbool.h>

#include "repo/repo.h"

/* name_ok() and none of the names the mount needs for itself. */
bool machine_name_ok(const char *name);

/* name_ok(), not `ro`, `files` or `point`, and no end in `-flat`. */
bool disk_name_ok(const char *name);

/* -ENOENT, quietly, if there is none. */
int must_check machine_get(struct repo *r, const char *name, struct uuid *ret);

/* Makes it if there is none; two at once agree on one uuid. */
int must_check machine_ensure(
	struct repo *r, const char *name, struct uuid *ret);

/*
 * Enters the machine UUID of another repository under its name, if that is
 * free. -EEXIST, quietly: it is another machine's here.
 */
int must_check machine_adopt(
	struct repo *r, const char *name, const struct uuid *uuid);

/*
 * The name of the machine UUID, for messages, or the uuid itself if none that
 * can be read has it; owned. NULL only if there is no memory.
 */
char *machine_name(struct repo *r, const struct uuid *uuid);

typedef int (*machine_visit)(
	void *arg, const char *name, const struct uuid *uuid);
int must_check machine_list(struct repo *r, machine_visit visit, void *arg);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * location - which repository is meant, where the user did not say.
 */
#ifndef HIVEFS_LOCATION_H
#define HIVEFS_LOCATION_H

#include "src/cleanup.h"

/*
 * GIVEN if not NULL, else $HIVEFS_REPO, else the first line of the file
 * $HIVEFS_REPO_FILE names, else /var/lib/hivefs (root) or
 * $XDG_DATA_HOME/hivefs (~/.local/share/hivefs). A path is made absolute, so
 * that a daemon finds it again. Owned; errors are logged.
 */
int must_check repo_location(const char *given, char **ret);

/* That in the first line of the file PATH, which messages call WHAT. */
int must_check repo_location_in(const char *what, const char *path, char **ret);

/*
 * The directories above PATH are made if GIVEN and the environment say nothing,
 * so that it is the default: a new home has no ~/.local/share.
 */
int must_check repo_location_prepare(const char *given, const char *path);

#endif

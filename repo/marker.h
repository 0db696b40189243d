/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marker - the file that makes a directory a repository and holds the seal of
 * its records. Every segment's header holds the seal too, so that a marker that
 * is lost can be written again.
 *
 * Threads    any thread.
 * Errors     logged.
 */
#ifndef HIVEFS_MARKER_H
#define HIVEFS_MARKER_H

#include "repo/segment.h"

#define MARKER "hivefs"
#define MARKER_TMP "hivefs.tmp"

/* DIR is the directory at PATH. */
int must_check marker_write(int dir, const char *path, const struct seal *seal);

/*
 * -ENOMEDIUM: no repository, -EPROTONOSUPPORT: of another format, -EBADMSG:
 * damaged, or gone while there are segments.
 */
int must_check marker_read(int dir, const char *path, struct seal *ret);

/*
 * Writes the marker anew if it is gone or damaged; with nobody else at it.
 * Takes the seal from the segments' headers, which must agree.
 */
int must_check marker_rebuild(int dir, const char *path);

#endif

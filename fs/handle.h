/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handle - what the kernel has open: a view, a text made when it was opened,
 * or a directory.
 *
 * Ownership  handle_open() returns owned; handle_free().
 * Threads    any thread; of a directory one at a time, which the kernel sees
 * to.
 */
#ifndef HIVEFS_HANDLE_H
#define HIVEFS_HANDLE_H

#include <stdbool.h>
#include <stddef.h>

#include "fs/dir.h"
#include "fs/fs.h"

struct handle {
	struct handle *next, **link; /* fs->lock */
	struct node_id id;
	struct view *view;    /* of a view, else NULL */
	struct reader reader; /* of a view that never changes */
	char *text;           /* of a text, else NULL */
	size_t text_len;
	struct dir dir; /* as it was when it was read from the beginning */
	bool dir_read;
	int dir_error; /* what listing it ended with */
};

/* FLAGS of open(2). A view of a clone for writing: -EBUSY if it is elsewhere.
 */
int must_check handle_open(
	struct fs *fs, struct node *n, int flags, struct handle **ret);
void handle_free(struct fs *fs, struct handle *h);

/* The view of a clone that a node is, without a handle. */
int must_check handle_view(
	struct fs *fs, struct node *n, bool writes, struct view **ret);

/* Lists the directory N anew. What could not be listed is dir_error's. */
void handle_list(struct fs *fs, struct handle *h, struct node *n);

#endif

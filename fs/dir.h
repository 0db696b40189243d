/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dir - what is in a directory of the mount: from a name to what it is, and
 * all of them. Everything is asked of the repository when it is asked of us,
 * so a new point is there at once.
 *
 * Threads    any thread.
 * Errors     quiet -ENOENT; else of store.h.
 */
#ifndef HIVEFS_DIR_H
#define HIVEFS_DIR_H

#include "fs/tree.h"
#include "src/vec.h"

/* What NAME in directory N is; node_id_fini(). */
int must_check dir_find(
	struct tree *t, struct node *n, const char *name, struct node_id *ret);

/* The same of a view that was removed there: what it was. */
int must_check dir_find_hidden(
	struct tree *t, struct node *n, const char *name, struct node_id *ret);

/* 0 if a foreign file in N may be called NAME, as far as that is ours to say;
 * -EPERM, quietly. */
int must_check dir_is_free(struct tree *t, struct node *n, const char *name);

struct dir_entry {
	struct node_id id;
	char *name;
};
struct dir vec(struct dir_entry);

/*
 * All that is in directory N, without `.` and `..`. After an error RET holds
 * what could be listed all the same. dir_fini() in either case.
 */
int must_check dir_list(struct tree *t, struct node *n, struct dir *ret);
void dir_fini(struct dir *d);

/* Room for the name of a point's directory: TIME or TIME-ALIAS. */
#define POINT_NAME (32 + 1 + ALIAS_LEN)

struct newest {
	struct point_id id;
	bool slid; /* one that is newer is damaged */
};

/*
 * The newest point of a machine that can be read and, if asked for, the name it
 * has in the machine's directory. -ENOENT if there is none, -EBADMSG if there
 * are damaged ones alone. That it is not the newest of all is logged.
 */
int must_check dir_newest(struct tree *t, const struct uuid *machine,
	struct newest *ret, char ret_name[POINT_NAME]);

#endif

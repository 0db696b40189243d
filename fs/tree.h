/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree - the nodes that the kernel knows: each directory, link or file once,
 * from its first lookup until the kernel forgets it. So memory is bounded by
 * what the kernel remembers, and a mount begins with the root alone.
 *
 * A node id is the node's address, stable while it is known; an inode number is
 * a hash of what the node is, the same in every mount of the repository.
 *
 * Ownership  the kernel's, by counts: tree_forget(). A node holds its parent.
 * Threads    any thread; a node is immutable, but for what says otherwise.
 * Errors     quiet -ENOENT; else of store.h.
 */
#ifndef HIVEFS_TREE_H
#define HIVEFS_TREE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/stat.h>

#include "formats/format.h"
#include "fs/branch.h"
#include "fs/foreign.h"
#include "fs/view.h"
#include "repo/point.h"

/* Numbers are part of inode numbers: append only. */
enum node_kind {
	NODE_ROOT,
	NODE_CONTROL, /* .hivefs */
	NODE_STATUS,
	NODE_METRICS,
	NODE_MACHINE,
	NODE_LATEST,
	NODE_POINT,
	NODE_POINT_JSON,
	NODE_RO,
	NODE_VIEW, /* of a point, which never changes */
	NODE_CLONES,
	NODE_CLONE, /* one with a name */
	NODE_CLONE_JSON,
	NODE_CLONE_VIEW,
	NODE_FOREIGN_DIR, /* beside views */
	NODE_FOREIGN,
};

/* All of what a node is: no two nodes have the same. */
struct node_id {
	enum node_kind kind;
	struct point_id point; /* of a machine or latest: the machine only */
	struct uuid clone;     /* NODE_CLONE…, in a point's directory too */
	uint32_t disk;         /* views: its number in the point or clone */
	const struct format *format; /* views */
	struct foreign *foreign; /* of those; a reference where it says so */
};

struct node {
	struct node_id id;
	struct node *parent; /* the root's: itself */
	uint64_t ino;
	uint64_t n_refs; /* tree->lock; of the kernel and of children */
	struct point *_Atomic point; /* NODE_POINT, once it was needed */
};

struct tree {
	struct repo *repo;
	struct branches *branches;
	struct foreigns *foreigns;
	bool read_only;   /* points are shown as they are, not their clones */
	uint32_t unshown; /* rows of formats that are not shown, as bits */
	bool full_blocks; /* what Windows opens is said to have no holes */
	struct view_style style;
	int64_t started; /* seconds since 1970, UTC */
	uid_t uid;
	gid_t gid;
	mode_t umask;
	struct node root;
	pthread_mutex_t lock;
	void *nodes; /* lock; of tsearch(3), by node_id, without the root */
	/* lock; views that were removed, to be made anew or until the end */
	struct vec(struct node_id) removed;
};

void tree_init(struct tree *t, struct repo *r, struct branches *branches,
	struct foreigns *foreigns, int64_t now);
void tree_fini(struct tree *t);

/* The node of ID below PARENT, counted once more. */
int must_check tree_get(struct tree *t, struct node *parent,
	const struct node_id *id, struct node **ret);

/* Drops the reference that an id has which dir_find() returned. */
void node_id_fini(struct node_id *id);

/* A view of a clone is hidden, or shown again. -ENOMEM, logged. */
int must_check tree_hide(struct tree *t, const struct node_id *id);
void tree_show(struct tree *t, const struct node_id *id);
bool tree_is_hidden(struct tree *t, const struct node_id *id);
/* All of a clone that is no more. */
void tree_show_all(struct tree *t, const struct uuid *clone);

/* The kernel drops N of its counts. */
void tree_forget(struct tree *t, struct node *n, uint64_t count);

/*
 * The point that a point's directory or anything in it belongs to; loaded when
 * it is first asked for and kept as long as the directory's node.
 */
int must_check tree_point(
	struct tree *t, struct node *n, const struct point **ret);

/*
 * The clone that a node belongs to, as its document is now: of a point's
 * directory its own one. -ENOENT, quietly, if there is none. clone_fini().
 */
int must_check tree_clone(struct tree *t, struct node *n, struct clone *ret);

/* Its id, which says nothing about whether it exists; false: it is of none. */
bool node_clone_id(const struct node *n, struct uuid *ret);

/* Is it the directory of a clone, where a clone is told what to do? */
bool node_is_controlled(const struct node *n);

/*
 * Where foreign files of a directory are; false: it may hold none. Borrows what
 * the node has.
 */
bool tree_foreign_dir(
	const struct tree *t, const struct node *n, struct foreign_dir *ret);

/* Does it belong to a point, and not to a clone with a name? */
bool node_has_point(const struct node *n);

int must_check tree_stat(struct tree *t, struct node *n, struct stat *ret);

/* Is the file that this row names shown, of a disk that it can hold? */
bool tree_shows(
	const struct tree *t, size_t row, uint64_t guest, uint32_t sector_size);

/* Its inode number, without making the node. */
uint64_t node_ino(const struct node_id *id);

/* How long the kernel may rely on a node's name and attributes: seconds. */
double node_timeout(const struct node *n);
double node_attr_timeout(const struct node *n);

mode_t node_type(enum node_kind kind); /* S_IFDIR, … */

#endif

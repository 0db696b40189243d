/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address - how people name a point, or one disk of it:
 *   MACHINE[/DISK]@WHEN
 * WHEN is `latest`, `latest~N` (the N-th before it), a time as
 * 2026-11-20T08:42:45Z or 2026-11-20T084245Z (with -ALIAS where two points
 * share a second), #BOOKMARK, or a unique prefix of an alias, 4 digits at
 * least; of an alias, MACHINE@ may be left out.
 *
 * Ownership  an address owns its point: address_fini().
 * Threads    any thread.
 */
#ifndef HIVEFS_ADDRESS_H
#define HIVEFS_ADDRESS_H

#include "repo/point.h"

struct address {
	struct point point;
	struct point_disk *disk; /* in point; NULL: none was named */
};

/*
 * Errors, logged: -EINVAL it is no address, -ENOENT there is no such machine,
 * disk or point (and which there are), -EINVAL a prefix that is not unique.
 * A damaged point hides no other: it is logged, and is not found. But it counts
 * for `latest`: -EBADMSG where it may be the one that is meant.
 */
int must_check address_resolve(
	struct repo *r, const char *text, struct address *ret);
/*
 * The same for whoever needs the point's id alone: a damaged point is found,
 * too, by its time or alias. It has no disks then.
 */
int must_check address_resolve_any(
	struct repo *r, const char *text, struct address *ret);
void address_fini(struct address *a);

/*
 * "web@2026-11-20T08:42:45Z", what to type to get this point; owned, NULL if
 * there is no memory. Of two points in one second it names either, and
 * address_resolve() then asks for -ALIAS: use address_full() where a program
 * will read it.
 */
char *address_text(const struct point *p);

/* The same, with -ALIAS if another point of the machine shares its second. */
int must_check address_full(struct repo *r, const struct point *p, char **ret);

#endif

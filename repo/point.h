/* SPDX-License-Identifier: Apache-2.0 */
/*
 * point - a recovery point: a machine's disks at one instant. Immutable, always
 * a full. What may change about it (tags, a hold, that it was removed) is its
 * label.
 *
 * Ownership  a `struct point` owns its strings: point_fini().
 * Threads    any thread.
 * Errors     of store.h; -EBADMSG for a document that does not decode.
 */
#ifndef HIVEFS_POINT_H
#define HIVEFS_POINT_H

#include <stdbool.h>
#include <stdint.h>

#include "repo/machine_config.h"
#include "repo/repo.h"
#include "src/digest.h"
#include "src/uuid.h"
#include "src/vec.h"

/* Key of a point document: in the order of time within a machine. */
#define POINT_ID_LEN 40

struct point_id {
	struct uuid machine;
	int64_t time; /* seconds since 1970, UTC, of its beginning; >= 0 */
	struct uuid writer;
};

struct key point_key(const struct point_id *id);
int must_check point_key_parse(const struct key *key, struct point_id *ret);

/* First hexadecimal digits of the writer's id; the short name of a point. */
#define ALIAS_LEN 8
char *point_alias(const struct point_id *id, char buf[ALIAS_LEN + 1]);

/*
 * "web@2026-11-20T08:42:45Z, alias 1a2b3c4d", also of one that cannot be read;
 * owned. No memory: NULL.
 */
char *point_naming(struct repo *r, const struct point_id *id);

enum consistency {
	CONSISTENCY_NONE, /* smeared: the source was in use */
	CONSISTENCY_CRASH,
	CONSISTENCY_FILESYSTEM,
	CONSISTENCY_APPLICATION,
};
const char *consistency_name(enum consistency c);

/* Of one disk of a backup. Bytes, but for the counts. */
struct disk_stats {
	uint64_t read;     /* from the source */
	uint64_t data;     /* in data extents: what the disk holds */
	uint64_t fresh;    /* in chunks that were stored for it */
	uint64_t stored;   /* compressed size of those */
	uint64_t changed;  /* in windows that differ from the parent's */
	uint64_t lost;     /* in lost extents */
	uint64_t n_chunks; /* stored for it */
	uint64_t n_maps;   /* stored for it */
};

struct point_disk {
	char *name;
	uint64_t size;
	uint32_t sector_size;
	struct digest root;
	struct disk_stats stats;
	char *source; /* what it was read from, for people */
};

struct point {
	struct point_id id;
	char *machine; /* its name at the time */
	bool has_parent;
	struct point_id parent;
	enum consistency consistency;
	int64_t end; /* seconds since 1970, UTC: when it was published */
	uint64_t duration_ms;
	char *host;
	char *version; /* of hivefs */
	struct machine_config config;
	struct vec(struct point_disk) disks;
};

void point_fini(struct point *p);

/* The disk of that name, or NULL. */
struct point_disk *point_disk(struct point *p, const char *name);

/*
 * Inserts and syncs it: the one step that makes a point exist. -EEXIST,
 * quietly, if its key is taken: by a tombstone, its writer was given up.
 */
int must_check point_insert(struct repo *r, const struct point *p);

/* -ENOENT, quietly, if there is none, or a tombstone, or it was removed. */
int must_check point_get(
	struct repo *r, const struct point_id *id, struct point *ret);

/* The same whatever its label says: -ENOENT if there is none, or a tombstone.
 */
int must_check point_read(
	struct repo *r, const struct point_id *id, struct point *ret);

/*
 * Makes sure that there is none under the key and never will be: 0 also if that
 * was so. A point that is there stays (-EEXIST, quietly).
 */
int must_check point_forbid(struct repo *r, const struct point_id *id);

/* Puts a tombstone in the place of one that was removed. */
int must_check point_bury(struct repo *r, const struct point_id *id);

/* What is under the key of a point. */
enum point_state {
	POINT_NONE,
	POINT_FENCED, /* none: who was about to copy one here was given up */
	POINT_TOMBSTONE,
	POINT_WHOLE, /* also one that was removed, until gc buries it */
};

struct point_place {
	enum point_state state;
	uint64_t version; /* of the document; 0: POINT_NONE */
};
int must_check point_place(
	struct repo *r, const struct point_id *id, struct point_place *ret);

/*
 * Publishes the document of a point as another repository has it, as
 * point_insert() does, where the place is as it was: -EEXIST, quietly, if not.
 */
int must_check point_copy(
	struct repo *r, const struct doc *doc, const struct point_place *place);

/*
 * Makes sure that whoever is about to copy a point to a place with VERSION will
 * not: 0 also if that was so.
 */
int must_check point_fence(
	struct repo *r, const struct point_id *id, uint64_t version);

/*
 * Of points of a machine that share a second all but one have their alias in
 * their name. That one is the first that was published, so that no name comes
 * to mean another point when one more arrives, or when it is removed.
 */
int must_check point_is_first(
	struct repo *r, const struct point_id *id, bool *ret);

/*
 * The time of a point that begins now: a second after LATEST (NULL: there is
 * none) where that is of this second or of one just ahead, so that points list
 * in the order they were made. A clock that is far behind is left alone.
 */
int64_t point_time_after(const struct point *latest);

/* The newest that was not removed; -ENOENT, quietly, if there is none. */
int must_check point_latest(
	struct repo *r, const struct uuid *machine, struct point *ret);

/*
 * Visits the points of a machine (NULL: of all) that were not removed, oldest
 * first. A visit that returns other than 0 ends it with that value. The point
 * is valid during the visit. -EBADMSG if a document was damaged, but only after
 * all the others were visited.
 */
typedef int (*point_visit)(void *arg, const struct point *p);
int must_check point_list(struct repo *r, const struct uuid *machine,
	bool newest_first, point_visit visit, void *arg);

/*
 * The same, newest first, with the damaged ones: of these the id is known and
 * nothing else, not even the machine's name.
 */
int must_check point_list_all(struct repo *r, const struct uuid *machine,
	point_visit visit, void *arg);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store - the contract every document store keeps. It knows documents by
 * collection and key, not what they mean.
 *
 * A document is a BSON body plus what the store itself must compare:
 *   version     of a mutable document; counts up from 1, by one a change.
 *               Of a chunk or map: its incarnation, random at each insert.
 *   generation  of its writer; 0 where it means nothing.
 *
 * What is promised
 *   - One document changes atomically; nothing is promised across documents.
 *   - store_sync() returns 0 only when all that this handle inserted, changed,
 *     removed *or was told exists* survives power loss.
 *   - A reader never waits for a writer.
 *   - Several processes may have the same store open, and any of them may be
 *     killed at any instant.
 *   - Stored bytes that fail their checksum: -EBADMSG, logged with the key;
 *     never wrong bytes.
 *
 * Units      bytes.
 * Ownership  a `struct doc` given in is borrowed for the call. One given out
 *            is the caller's: doc_fini().
 * Threads    any thread, all calls but store_close().
 * Errors     quiet: -ENOENT from get, replace and remove, -EEXIST from insert,
 *            -ESTALE where a version does not match. Logged: -EBADMSG,
 *            -ENOSPC, -EROFS, -EIO, -EBUSY, -EPROTONOSUPPORT (a newer format),
 *            -ENOMEDIUM (no repository there).
 */
#ifndef HIVEFS_STORE_H
#define HIVEFS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "src/cleanup.h"
#include "src/uuid.h"

/* Numbers are part of the format (FORMAT.md): never reuse one. */
enum coll {
	COLL_META = 0,
	COLL_MACHINES = 1,
	COLL_CHUNKS = 2,
	COLL_MAPS = 3,
	COLL_POINTS = 4,
	COLL_LABELS = 5,
	COLL_CLONES = 6,
	COLL_QUARANTINE = 7,
	COLL_WRITERS = 8,   /* lost when an embedded index is rebuilt */
	COLL_CONDEMNED = 9, /* likewise */
	N_COLLS
};

/* "chunks", … : names in messages and of MongoDB collections */
const char *coll_name(enum coll c);

#define KEY_MAX 128

struct key {
	uint8_t len; /* 1 … KEY_MAX */
	uint8_t b[KEY_MAX];
};

static inline struct key key_of(const void *data, size_t len)
{
	struct key k = { .len = (uint8_t)len };

	memcpy(k.b, data, len);
	return k;
}

static inline bool key_eq(const struct key *a, const struct key *b)
{
	return a->len == b->len && memcmp(a->b, b->b, a->len) == 0;
}

#define DOC_MAX (8u << 20) /* of a body */

struct doc {
	enum coll coll;
	struct key key;
	uint64_t version;
	uint64_t generation;
	const void *body; /* BSON; NULL: absent, or not asked for */
	uint32_t len;
	void *owned; /* memory the body lies in, or NULL if borrowed */
};

static inline void doc_fini(struct doc *d)
{
	free(d->owned);
	d->owned = NULL;
	d->body = NULL;
}

struct store;

enum store_flags {
	STORE_READ_ONLY = 1,
	/* rm, gc: may use the space kept back for making space */
	STORE_SPEND_RESERVE = 2,
	/* streams of owners on other hosts are taken without waiting for them
	 * to be silent */
	STORE_TAKEOVER = 4,
};

/*
 * Makes an empty store at URL for the repository UUID. -EEXIST, logged, if a
 * repository or anything else is there; an interrupted attempt is taken up.
 */
int must_check store_create(const char *url, const struct uuid *uuid);

/* Has a store been made at URL? False also if that cannot be told. */
bool store_exists(const char *url);
int must_check store_open(const char *url, unsigned flags, struct store **ret);
void store_close(struct store *s);
DEFINE_CLEANUP(struct store *, store_close);

/* Of the repository that it was made for. */
struct uuid store_uuid(const struct store *s);

/*
 * Rebuilds what an embedded store derives from its segments. Needs it to
 * itself: -EBUSY if any process has it open.
 */
#define STORE_LOST_MAX 64

/* A document that was there, chunks and maps aside, and where it lay. */
struct store_lost {
	enum coll coll;
	struct key key;
	uint32_t segment;
	uint64_t off;
};

struct store_repair {
	uint64_t segments, documents; /* looked at; live at the end */
	uint64_t damaged;             /* records that fail their checksum */
	uint64_t damaged_bytes;
	uint64_t n_lost;
	struct store_lost lost[STORE_LOST_MAX]; /* the first of them */
};
int must_check store_repair_index(const char *url, struct store_repair *ret);

int must_check store_get(
	struct store *s, enum coll c, const struct key *key, struct doc *ret);

/*
 * ret[i] for keys[i]; body NULL where there is none. ret_err[i], if given, is
 * 0 or what went wrong with that one alone; without it, the first error fails
 * the call and nothing is returned.
 */
int must_check store_get_many(struct store *s, enum coll c,
	const struct key *keys, size_t n, struct doc *ret, int *ret_err);

/*
 * The same without bodies, as a scan of keys has them; key.len is 0 where there
 * is none. -EBADMSG if one of them is damaged.
 */
int must_check store_head_many(struct store *s, enum coll c,
	const struct key *keys, size_t n, struct doc *ret);

int must_check store_exists_many(struct store *s, enum coll c,
	const struct key *keys, size_t n, bool *ret);

/*
 * Each document is inserted, or exists already: ret_inserted[i] says which.
 * Documents of chunks and maps only; of equal keys the first one stands.
 * After an error some may be in.
 */
int must_check store_insert_many(
	struct store *s, const struct doc *docs, size_t n, bool *ret_inserted);

/* -EEXIST, quietly, if the key is taken. */
int must_check store_insert(struct store *s, const struct doc *doc);

/* Where the stored version is OLD_VERSION: -ENOENT, -ESTALE otherwise. */
int must_check store_replace(
	struct store *s, const struct doc *doc, uint64_t old_version);
int must_check store_remove(
	struct store *s, enum coll c, const struct key *key, uint64_t version);

/*
 * One change of one document: DOC is inserted (INSERT), or replaces the version
 * OLD_VERSION; without a DOC that version of COLL's KEY is removed.
 */
struct store_change {
	const struct doc *doc; /* NULL: remove */
	bool insert;
	enum coll coll; /* of what is removed */
	struct key key;
	uint64_t old_version;
	int err; /* set: 0, -EEXIST, -ENOENT or -ESTALE */
};

/*
 * Makes them, each as if alone, in far less time: those of one document in
 * their order, those of several in any. Where one does not hold, the others are
 * made all the same. Returns other errors; then some may have been made, and
 * not the first ones. Not for inserting chunks and maps.
 */
int must_check store_change_many(
	struct store *s, struct store_change *changes, size_t n);

enum scan_flags {
	SCAN_KEYS = 1,    /* bodies are not read: body is NULL */
	SCAN_REVERSE = 2, /* from the last key down */
};

/*
 * Visits documents in key order (as bytes) whose key begins with PREFIX (NULL:
 * all); of chunks and maps, all keys are of one length. A visit that returns
 * other than 0 ends the scan with that value. Documents inserted or removed
 * meanwhile may or may not be seen. The visit may call the store. The body is
 * valid during the visit. Damaged documents are passed over: -EBADMSG when all
 * others have been visited.
 */
typedef int (*store_visit)(void *arg, const struct doc *doc);
int must_check store_scan(struct store *s, enum coll c,
	const struct key *prefix, unsigned flags, store_visit visit, void *arg);

/*
 * Visits every document of a collection once, in the order that is fastest to
 * read, on N_THREADS threads; ERR is -EBADMSG where its bytes fail their
 * checksum (body NULL then). THREAD as in parallel_for(). Whoever compacts the
 * store meanwhile may have documents visited twice, never left out. A visit
 * that returns other than 0 ends the walk with that value.
 */
typedef int (*store_walk_visit)(
	void *arg, const struct doc *doc, int err, unsigned thread);
int must_check store_walk(struct store *s, enum coll c, unsigned n_threads,
	store_walk_visit visit, void *arg);

/*
 * Visits the chunks and maps, without bodies, of which a glance tells that they
 * are gone: the file that held them is missing or too short (logged). What is
 * damaged otherwise only reading finds. A visit as of store_scan().
 */
int must_check store_gone(struct store *s, store_visit visit, void *arg);

/*
 * How many threads do work that waits for the store: as many as there are
 * processors, and more where each request is a round trip to a server. Several
 * such requests on the way at once are what hides its latency.
 */
unsigned store_threads(const struct store *s);

int must_check store_sync(struct store *s);

/*
 * Is no other process known to have the store open? Then whatever others have
 * registered before this call is left over. False where that cannot be told.
 */
bool store_alone(struct store *s);

/*
 * Lets go of what others have removed from below the store. Reading does that
 * as it goes; this is for whoever has it open and does not read.
 */
void store_tidy(struct store *s);

/*
 * Gives back the space of documents that were removed, superseded or never
 * published. Others read and write meanwhile. DONE and TOTAL are bytes, CANCEL
 * as in verify.h. Where space runs out, what is done is done: `partial`.
 */
struct store_compact {
	uint64_t n_removed; /* segments */
	uint64_t freed;     /* bytes of them */
	uint64_t moved;     /* bytes written anew for that */
	bool partial;       /* there was no space to move more */
};
int must_check store_compact(struct store *s, _Atomic uint64_t *done,
	_Atomic uint64_t *total, const _Atomic bool *cancel,
	struct store_compact *ret);

/*
 * The store's own count of a collection, from elsewhere than a scan has its
 * documents: what a listing must agree with (I5). The sum is that of a 128-bit
 * hash of each (key, version, generation): store_count_add() makes one from
 * a listing.
 */
struct store_count {
	uint64_t n;
	uint64_t bytes; /* bodies */
	uint64_t sum[2];
};
int must_check store_count(
	struct store *s, enum coll c, struct store_count *ret);
void store_count_add(struct store_count *count, const struct doc *doc);

/*
 * About as many documents and bytes, quickly and without a sum: for people and
 * progress.
 */
int must_check store_estimate(
	struct store *s, enum coll c, struct store_count *ret);

#define STORE_FREE_UNKNOWN UINT64_MAX

struct store_info {
	const char *kind;    /* "embedded", "mongodb" */
	uint64_t bytes;      /* taken on disk, everything */
	uint64_t bytes_free; /* of the file system below it, if known */
	uint64_t bytes_dead; /* of removed or superseded documents */
	uint64_t n_segments;
	bool read_only; /* nobody on this host can write to it */
};
int must_check store_info(struct store *s, struct store_info *ret);

#endif

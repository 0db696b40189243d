/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment - an append-only file of self-describing, checksummed records. The
 * segments are the repository; everything else is derived from them. Layout:
 * FORMAT.md, "Embedded store".
 *
 * A record's header checksum is seeded with the repository, the segment and
 * the offset, so bytes that merely look like a record (copied there, or planted
 * in a guest's disk for a scan after damage to find) do not pass.
 *
 * Units      bytes; offsets in the file.
 * Ownership  no file descriptor is owned here.
 * Threads    one thread at a time per struct; functions: any thread.
 * Errors     -EBADMSG, quietly: the caller knows what it looked for.
 */
#ifndef HIVEFS_SEGMENT_H
#define HIVEFS_SEGMENT_H

#include <sys/uio.h>

#include "repo/store.h"

#define SEGMENT_HEADER 4096
#define SEGMENT_LIMIT (256u << 20)   /* from here on, the next one is begun; */
#define SEGMENT_LIMIT_MIN (4u << 20) /* on a small file system, from here */
#define SEGMENT_NAME 16              /* "0000002a.seg" and the zero */
#define RECORD_HEADER 56
#define RECORD_MAX (RECORD_HEADER + KEY_MAX + (uint64_t)DOC_MAX)

/* What ties records to their repository: its uuid and a secret random number.
 */
struct seal {
	struct uuid uuid;
	uint64_t salt;
};

char *segment_name(uint32_t id, char buf[SEGMENT_NAME]);
/* The id in a file name; 0 if it is not one of a segment. */
uint32_t segment_id(const char *name);

uint64_t segment_seed(const struct seal *seal, uint32_t id);

void segment_header_encode(const struct seal *seal, uint32_t id, uint8_t *buf);
/* -EBADMSG, or -EPROTONOSUPPORT for a newer format. */
int must_check segment_header_check(
	const struct seal *seal, uint32_t id, const uint8_t *buf);
/* The same where the seal is not known: what it is. */
int must_check segment_header_seal(
	const uint8_t *buf, uint32_t id, struct seal *ret);

enum record_kind {
	RECORD_DAMAGED = 0, /* of a scan: a stretch that is no record */
	RECORD_PUT = 1,
	RECORD_REMOVE = 2,
};

struct record {
	enum record_kind kind;
	enum coll coll;
	struct key key;
	uint64_t version;
	uint64_t generation;
	uint64_t order; /* of changes in a journal; 0 elsewhere */
	uint32_t body_len;
	uint64_t body_sum;
	uint64_t off, len; /* where it lies, padding included */
};

uint64_t record_len(unsigned key_len, uint32_t body_len);

/* P holds AVAIL bytes from offset OFF on; checks header and key, not the body.
 */
int must_check record_decode(const uint8_t *p, size_t avail, uint64_t seed,
	uint64_t off, struct record *ret);

/* The body's place in a record that begins at P. */
const uint8_t *record_body(const struct record *r, const uint8_t *p);
bool record_body_ok(const struct record *r, const uint8_t *body);

/*
 * Appending. Bodies of 8 KiB and more are written from where they are (and
 * must stay there until the flush), smaller ones are gathered; writes are of
 * 4 MiB or more.
 */
#define APPEND_IOVS 512
struct segment_append {
	int fd;
	uint64_t seed;
	uint64_t end;     /* of what was given, written or not */
	uint64_t written; /* up to here */
	uint8_t *buf;
	size_t used;
	struct iovec iov[APPEND_IOVS];
	int n_iov;
};

int must_check segment_append_init(
	struct segment_append *a, int fd, uint64_t seed, uint64_t end);
void segment_append_fini(struct segment_append *a);

/* Sets r's off, len and body_sum. A negative errno, quietly. */
int must_check segment_append(
	struct segment_append *a, struct record *r, const void *body);
/* Writes what is gathered, then fdatasync. */
int must_check segment_append_flush(struct segment_append *a);

/*
 * Reading a stretch from beginning to end. After damage it goes on at the next
 * record that verifies; unreadable sectors count as damage.
 */
struct segment_scan {
	int fd;
	uint64_t seed;
	uint64_t off, end; /* what is left */
	uint8_t *buf;
	size_t cap, have;
	uint64_t buf_off;
	struct record ahead; /* found behind damage; kind 0: none */
};

void segment_scan_init(struct segment_scan *s, int fd, uint64_t seed,
	uint64_t off, uint64_t end);
void segment_scan_fini(struct segment_scan *s);

/*
 * 1 and a record, 0 at the end. Its kind is RECORD_DAMAGED for a stretch that
 * is none; body is NULL where the body fails its checksum. The body is valid
 * until the next call.
 */
int must_check segment_scan_next(
	struct segment_scan *s, struct record *ret, const uint8_t **ret_body);

#endif

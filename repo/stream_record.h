/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_record - how the files of an embedded store's streams are laid out.
 * Layout: FORMAT.md, "Streams".
 *
 * A record's header checksum is seeded with the stream, the repository's secret
 * salt, the file and the offset: a record that was moved, or that a guest
 * wrote, does not pass. One of an earlier life of the same bytes would; its
 * sequence number, whose epoch is an older one, tells.
 *
 * Units      bytes; offsets in the file.
 * Threads    any thread.
 * Errors     -EBADMSG, quietly: the caller knows what it looked for.
 */
#ifndef HIVEFS_STREAM_RECORD_H
#define HIVEFS_STREAM_RECORD_H

#include "repo/segment.h"
#include "repo/stream.h"

#define STREAM_FILE_HEADER 4096
#define STREAM_FILE_MAX (64u << 20)
/* the same; tests make it less, before they open a stream */
extern uint32_t stream_file_max;
#define STREAM_FILE_NAME 16 /* "00000001.str" and the zero */
#define STREAM_RECORD_HEADER 56
#define STREAM_RECORD_MAX (STREAM_RECORD_HEADER + STREAM_PAYLOAD_MAX)

/* numbers of files; above, a place could be taken for PLACE_NONE */
#define STREAM_FILES_MAX (UINT32_MAX - 1)

/* Sequence numbers: the epoch above the number. */
#define STREAM_EPOCH_MAX ((1u << 24) - 1)
#define STREAM_NUMBER_MAX ((UINT64_C(1) << STREAM_NUMBER_BITS) - 1)

static inline uint64_t stream_epoch(uint64_t seq)
{
	return seq >> STREAM_NUMBER_BITS;
}

char *stream_file_name(uint32_t number, char buf[STREAM_FILE_NAME]);
/* The number in a file name; 0 if it is not one of a stream's file. */
uint32_t stream_file_number(const char *name);

void stream_header_encode(const struct uuid *stream, uint32_t number,
	uint64_t first, uint8_t *buf);
/* -EBADMSG, or -EPROTONOSUPPORT for a newer format. */
int must_check stream_header_decode(const struct uuid *stream, uint32_t number,
	const uint8_t *buf, uint64_t *ret_first);

enum stream_kind {
	STREAM_DATA = 1,
	STREAM_TAKEOVER = 2, /* the next record has the next epoch's number 0 */
};

struct stream_record {
	enum stream_kind kind;
	uint32_t len; /* of the payload */
	uint64_t seq;
	uint64_t synced; /* all before it was durable when this was written */
	int64_t time;    /* for people */
	uint64_t sum;    /* XXH3-64 of the payload */
};

/* On the medium, padding included. */
static inline uint64_t stream_record_len(uint32_t len)
{
	return STREAM_RECORD_HEADER + ((uint64_t)len + 7) / 8 * 8;
}

/* What follows it, if nothing else is there. */
static inline uint64_t stream_record_next(const struct stream_record *r)
{
	return r->kind == STREAM_DATA
		       ? r->seq + 1
		       : (stream_epoch(r->seq) + 1) << STREAM_NUMBER_BITS;
}

uint64_t stream_seed(const struct uuid *stream, uint64_t salt, uint32_t number);

void stream_record_encode(
	const struct stream_record *r, uint64_t seed, uint64_t off, uint8_t *p);
/* P holds STREAM_RECORD_HEADER bytes from offset OFF on. */
int must_check stream_record_decode(const uint8_t *p, uint64_t seed,
	uint64_t off, struct stream_record *ret);
bool stream_record_is(const struct stream_record *r, const uint8_t *payload);

/*
 * An owner as text, for people: of the file `owner` and of takeovers. Without
 * the zero at its end, STREAM_OWNER_TEXT at most.
 */
#define STREAM_OWNER_TEXT (sizeof(struct stream_owner) + 64)
size_t stream_owner_write(
	const struct stream_owner *o, char buf[STREAM_OWNER_TEXT]);
/* TEXT ends with a zero; -EBADMSG leaves empty strings. */
int must_check stream_owner_parse(const char *text, struct stream_owner *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/stream_record.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

#include "src/bytes.h"

#define HEADER_MAGIC "HIVESTRM"
#define HEADER_SUM (STREAM_FILE_HEADER - 8)
#define FORMAT 1

#define RECORD_MAGIC UINT64_C(0xb3f08d6ac9e1745d)

static_assert(STREAM_RECORD_HEADER % 8 == 0 && STREAM_FILE_HEADER % 8 == 0 &&
		      STREAM_PAYLOAD_MAX % 8 == 0,
	"records are 8-byte aligned");

uint32_t stream_file_max = STREAM_FILE_MAX;

char *stream_file_name(uint32_t number, char buf[STREAM_FILE_NAME])
{
	snprintf(buf, STREAM_FILE_NAME, "%08x.str", number);
	return buf;
}

uint32_t stream_file_number(const char *name)
{
	char back[STREAM_FILE_NAME];
	uint32_t number = (uint32_t)strtoul(name, NULL, 16);

	if (number > STREAM_FILES_MAX)
		return 0;
	return strcmp(stream_file_name(number, back), name) == 0 ? number : 0;
}

void stream_header_encode(const struct uuid *stream, uint32_t number,
	uint64_t first, uint8_t *buf)
{
	memset(buf, 0, STREAM_FILE_HEADER);
	memcpy(buf + 0x00, HEADER_MAGIC, 8);
	put_le32(buf + 0x08, FORMAT);
	put_le32(buf + 0x0c, number);
	memcpy(buf + 0x10, stream->b, 16);
	put_le64(buf + 0x20, first);
	put_le64(buf + HEADER_SUM, XXH3_64bits(buf, HEADER_SUM));
}

int stream_header_decode(const struct uuid *stream, uint32_t number,
	const uint8_t *buf, uint64_t *ret_first)
{
	if (memcmp(buf, HEADER_MAGIC, 8) != 0 ||
		get_le64(buf + HEADER_SUM) != XXH3_64bits(buf, HEADER_SUM))
		return -EBADMSG;
	if (get_le32(buf + 0x08) != FORMAT)
		return -EPROTONOSUPPORT;
	if (get_le32(buf + 0x0c) != number ||
		memcmp(buf + 0x10, stream->b, 16) != 0)
		return -EBADMSG;
	*ret_first = get_le64(buf + 0x20);
	return 0;
}

uint64_t stream_seed(const struct uuid *stream, uint64_t salt, uint32_t number)
{
	uint8_t b[28];

	memcpy(b, stream->b, 16);
	put_le64(b + 16, salt);
	put_le32(b + 24, number);
	return XXH3_64bits(b, sizeof(b));
}

static uint64_t header_sum(const uint8_t *p, uint64_t seed, uint64_t off)
{
	return XXH3_64bits_withSeed(p, 0x30, seed + off);
}

void stream_record_encode(
	const struct stream_record *r, uint64_t seed, uint64_t off, uint8_t *p)
{
	put_le64(p + 0x00, RECORD_MAGIC);
	put_le32(p + 0x08, r->kind);
	put_le32(p + 0x0c, r->len);
	put_le64(p + 0x10, r->seq);
	put_le64(p + 0x18, r->synced);
	put_le64(p + 0x20, (uint64_t)r->time);
	put_le64(p + 0x28, r->sum);
	put_le64(p + 0x30, header_sum(p, seed, off));
}

int stream_record_decode(const uint8_t *p, uint64_t seed, uint64_t off,
	struct stream_record *ret)
{
	uint32_t kind = get_le32(p + 0x08), len = get_le32(p + 0x0c);
	uint64_t seq = get_le64(p + 0x10);

	if (get_le64(p + 0x00) != RECORD_MAGIC ||
		get_le64(p + 0x30) != header_sum(p, seed, off) ||
		(kind != STREAM_DATA && kind != STREAM_TAKEOVER) ||
		len > STREAM_PAYLOAD_MAX ||
		(kind == STREAM_DATA &&
			(seq & STREAM_NUMBER_MAX) == STREAM_NUMBER_MAX) ||
		(kind == STREAM_TAKEOVER &&
			stream_epoch(seq) == STREAM_EPOCH_MAX))
		return -EBADMSG;
	ret->kind = kind;
	ret->len = len;
	ret->seq = seq;
	ret->synced = get_le64(p + 0x18);
	ret->time = (int64_t)get_le64(p + 0x20);
	ret->sum = get_le64(p + 0x28);
	return 0;
}

bool stream_record_is(const struct stream_record *r, const uint8_t *payload)
{
	return XXH3_64bits(payload, r->len) == r->sum;
}

size_t stream_owner_write(
	const struct stream_owner *o, char buf[STREAM_OWNER_TEXT])
{
	int n = snprintf(buf, STREAM_OWNER_TEXT,
		"host %.*s\npid %" PRId64 "\nplace %.*s\n",
		(int)sizeof(o->host) - 1, o->host, o->pid,
		(int)sizeof(o->place) - 1, o->place);

	return (size_t)n;
}

/* The text behind LABEL up to a line feed, the last one if LAST; what follows,
 * or NULL.
 */
static const char *parse_line(
	const char *text, const char *label, bool last, char *ret, size_t cap)
{
	size_t skip = strlen(label);
	const char *end;

	if (!text || strncmp(text, label, skip) != 0)
		return NULL;
	text += skip;
	end = last ? strrchr(text, '\n') : strchr(text, '\n');
	if (!end || (size_t)(end - text) >= cap)
		return NULL;
	memcpy(ret, text, (size_t)(end - text));
	return end + 1;
}

int stream_owner_parse(const char *text, struct stream_owner *ret)
{
	struct stream_owner o = { 0 };
	char pid[24] = "", *end;

	memset(ret, 0, sizeof(*ret));
	text = parse_line(text, "host ", false, o.host, sizeof(o.host));
	text = parse_line(text, "pid ", false, pid, sizeof(pid));
	/* a path may hold line feeds */
	text = parse_line(text, "place ", true, o.place, sizeof(o.place));
	o.pid = strtoll(pid, &end, 10);
	if (!text || end == pid || *end != '\0')
		return -EBADMSG;
	*ret = o;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/marker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include <xxhash.h>

#include "src/bytes.h"
#include "src/log.h"

#define FORMAT 1
#define MARKER_FIRST "hivefs repository\n"
#define MARKER_MAX 4096
#define REMEDY "hivefs repair --index makes a new one from the segments"

static uint64_t marker_sum(const char *text, size_t len)
{
	return XXH3_64bits(text, len);
}

int marker_write(int dir, const char *path, const struct seal *seal)
{
	char text[MARKER_MAX], uuid[UUID_TEXT];
	scoped(closep) int fd = -1;
	int n;

	n = snprintf(text, sizeof(text),
		MARKER_FIRST "format %d\nuuid %s\nsalt %016" PRIx64 "\n",
		FORMAT, uuid_text(&seal->uuid, uuid), seal->salt);
	n += snprintf(text + n, sizeof(text) - n, "sum %016" PRIx64 "\n",
		marker_sum(text, (size_t)n));
	fd = openat(dir, MARKER_TMP, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		0600);
	if (fd < 0 || write(fd, text, (size_t)n) != n || fsync(fd) != 0 ||
		renameat(dir, MARKER_TMP, dir, MARKER) != 0 || fsync(dir) != 0)
		return fail(errno ? errno : EIO, "%s/" MARKER ": %m", path);
	return 0;
}

static bool uuid_parse(const char *text, struct uuid *ret)
{
	char back[UUID_TEXT];
	size_t n = 0;

	for (const char *p = text; n < sizeof(ret->b) && p[0] && p[1]; p += 2) {
		char byte[3] = { 0 };

		p += *p == '-';
		memcpy(byte, p, 2);
		ret->b[n++] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return n == sizeof(ret->b) && strcmp(uuid_text(ret, back), text) == 0;
}

#define VALUE_MAX 64

/* The value in the line at *AT, which must be NAME's; moves on to the next. */
static bool marker_line(const char **at, const char *name, char *ret)
{
	size_t n = strlen(name), len;

	if (strncmp(*at, name, n) != 0 || (*at)[n] != ' ')
		return false;
	len = strcspn(*at + n + 1, "\n");
	if (len == 0 || len >= VALUE_MAX || (*at)[n + 1 + len] != '\n')
		return false;
	memcpy(ret, *at + n + 1, len);
	ret[len] = '\0';
	*at += n + 1 + len + 1;
	return true;
}

enum state { GOOD, MISSING, FOREIGN, DAMAGED, OTHER_FORMAT };

static bool number(const char *text, int base, uint64_t *ret)
{
	char *end;

	*ret = strtoull(text, &end, base);
	return *text && !*end;
}

/* Does it end in the sum of what precedes that? So in any format. */
static bool sum_ok(const char *text)
{
	const char *at = strstr(text, "\nsum ");
	size_t len = at ? (size_t)(++at - text) : 0;
	char value[VALUE_MAX];
	uint64_t sum;

	return at && marker_line(&at, "sum", value) &&
	       number(value, 16, &sum) && sum == marker_sum(text, len);
}

static enum state parse(const char *text, struct seal *ret, uint64_t *format)
{
	char value[VALUE_MAX];
	const char *at = text + strlen(MARKER_FIRST);

	if (strncmp(text, MARKER_FIRST, strlen(MARKER_FIRST)) != 0)
		return FOREIGN;
	if (!marker_line(&at, "format", value) || !number(value, 10, format))
		return DAMAGED;
	if (*format != FORMAT)
		return OTHER_FORMAT;
	return marker_line(&at, "uuid", value) &&
			       uuid_parse(value, &ret->uuid) &&
			       marker_line(&at, "salt", value) &&
			       number(value, 16, &ret->salt) && sum_ok(text)
		       ? GOOD
		       : DAMAGED;
}

struct marker {
	enum state state;
	bool sum_ok;
	uint64_t format;
	struct seal seal;
};

static int look(int dir, const char *path, struct marker *ret)
{
	char text[MARKER_MAX + 1];
	scoped(closep) int fd = -1;
	ssize_t n;

	*ret = (struct marker){ .state = MISSING };
	fd = openat(dir, MARKER, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return fail(errno, "%s/" MARKER ": %m", path);
	n = read(fd, text, MARKER_MAX);
	if (n < 0)
		return fail(errno, "%s/" MARKER ": read: %m", path);
	text[n] = '\0';
	ret->state = parse(text, &ret->seal, &ret->format);
	ret->sum_ok = sum_ok(text);
	return 0;
}

/* What the headers of the segments say. */
struct headers {
	unsigned n_files; /* with a segment's name */
	unsigned n_good;
	struct seal seal; /* of the good ones */
};

static int read_header(
	int segments, const char *path, const char *name, struct headers *h)
{
	uint8_t header[SEGMENT_HEADER];
	scoped(closep) int fd = openat(segments, name, O_RDONLY | O_CLOEXEC);
	struct seal seal;
	int r = 0;

	h->n_files++;
	if (fd >= 0 && pread(fd, header, sizeof(header), 0) == sizeof(header))
		r = segment_header_seal(header, segment_id(name), &seal);
	else
		r = -EBADMSG;
	if (r == -EPROTONOSUPPORT)
		return fail(
			-r, "%s/segments/%s: needs a newer hivefs", path, name);
	if (r < 0)
		return 0; /* damage is for whoever reads the records */
	if (h->n_good++ == 0)
		h->seal = seal;
	if (memcmp(&h->seal.uuid, &seal.uuid, sizeof(seal.uuid)) != 0 ||
		h->seal.salt != seal.salt)
		return fail(EBADMSG,
			"%s/segments: holds segments of two repositories, one "
			"of them %s",
			path, name);
	return 0;
}

/* None at all is no error. */
static int read_headers(int dir, const char *path, struct headers *ret)
{
	int fd = openat(dir, "segments", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int r = 0;

	*ret = (struct headers){ 0 };
	if (!list) {
		closep(&fd);
		return 0;
	}
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has LIST */
	while (r == 0 && (e = readdir(list)))
		if (segment_id(e->d_name) != 0)
			r = read_header(dirfd(list), path, e->d_name, ret);
	closedir(list);
	return r;
}

static int missing(int dir, const char *path)
{
	struct headers h;
	int r = read_headers(dir, path, &h);

	if (r < 0)
		return r;
	if (h.n_files)
		return fail(EBADMSG,
			"%s/" MARKER
			": is missing, but not the segments: " REMEDY,
			path);
	return fail(ENOMEDIUM,
		"%s: not a hivefs repository (create one with: hivefs init %s)",
		path, path);
}

int marker_read(int dir, const char *path, struct seal *ret)
{
	struct marker m;
	int r = look(dir, path, &m);

	if (r < 0)
		return r;
	switch (m.state) {
	case GOOD:
		*ret = m.seal;
		return 0;
	case MISSING:
		return missing(dir, path);
	case FOREIGN:
		return fail(ENOMEDIUM,
			"%s: not a hivefs repository: its file '" MARKER
			"' is something else",
			path);
	case OTHER_FORMAT:
		return fail(EPROTONOSUPPORT,
			"%s: is of format %" PRIu64
			", and this hivefs reads %d: it needs %s hivefs",
			path, m.format, FORMAT,
			m.format > FORMAT ? "a newer" : "an older");
	case DAMAGED:
		break;
	}
	return fail(EBADMSG, "%s/" MARKER ": is damaged: " REMEDY, path);
}

int marker_rebuild(int dir, const char *path)
{
	struct headers h;
	struct marker m;
	int r = look(dir, path, &m);

	if (r < 0 || m.state == GOOD)
		return r;
	if (m.state == OTHER_FORMAT && m.sum_ok)
		return marker_read(dir, path, &m.seal);
	r = read_headers(dir, path, &h);
	if (r < 0)
		return r;
	if (h.n_files == 0)
		return marker_read(dir, path, &m.seal);
	if (h.n_good == 0)
		return fail(EBADMSG,
			"%s/" MARKER ": is %s, and no segment's header can be "
			"read either",
			path, m.state == MISSING ? "missing" : "damaged");
	r = marker_write(dir, path, &h.seal);
	if (r == 0)
		log_info("%s/" MARKER ": was %s, and is made anew from the "
			 "headers of the segments",
			path, m.state == MISSING ? "missing" : "damaged");
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/stream_walk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "src/bytes.h"
#include "src/log.h"

#define READER_CAP (4u << 20)
static_assert(READER_CAP >= STREAM_RECORD_MAX, "a record fits");

/* A window onto one file. */
struct reader {
	const struct stream_dir *dir;
	const struct stream_file *file;
	uint64_t seed;
	uint8_t *buf;
	uint64_t off;
	size_t have;
};

static int damaged(const struct reader *r, uint64_t off, const char *what)
{
	char name[STREAM_FILE_NAME];

	return fail(EBADMSG, "%s/%s: offset %" PRIu64 ": %s", r->dir->path,
		stream_file_name(r->file->number, name), off, what);
}

/* How many bytes there are from OFF on: WANT, or less at the end of the file.
 */
static ssize_t reader_at(
	struct reader *r, uint64_t off, size_t want, const uint8_t **ret)
{
	size_t at = 0;

	if (off >= r->off && off - r->off <= r->have)
		at = (size_t)(off - r->off);
	else
		r->have = 0;
	if (r->have - at < want) {
		memmove(r->buf, r->buf + at, r->have - at);
		r->have -= at;
		r->off = off;
		at = 0;
	}
	while (r->have - at < want) {
		ssize_t n = pread(r->file->fd, r->buf + r->have,
			READER_CAP - r->have, (off_t)(r->off + r->have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			fail(errno, "%s: file %08" PRIx32 ": read: %m",
				r->dir->path, r->file->number);
			return -EIO;
		}
		if (n == 0)
			break;
		r->have += (size_t)n;
	}
	*ret = r->buf + at;
	return (ssize_t)MIN_OF(r->have - at, want);
}

/* 1, or 0 if there is none that is whole. */
static int record_at(struct reader *r, uint64_t off, struct stream_record *ret,
	const uint8_t **ret_payload)
{
	const uint8_t *p;
	ssize_t n = reader_at(r, off, STREAM_RECORD_HEADER, &p);
	size_t len;

	if (n < STREAM_RECORD_HEADER)
		return n < 0 ? (int)n : 0;
	if (stream_record_decode(p, r->seed, off, ret) < 0)
		return 0;
	len = (size_t)stream_record_len(ret->len);
	n = reader_at(r, off, len, &p);
	if (n < (ssize_t)len)
		return n < 0 ? (int)n : 0;
	*ret_payload = p + STREAM_RECORD_HEADER;
	return stream_record_is(ret, *ret_payload);
}

/* 1 if a record behind OFF says that the one numbered SEQ was synced. */
static int was_synced(struct reader *r, uint64_t off, uint64_t seq)
{
	struct stream_record rec;
	const uint8_t *p;
	ssize_t n;

	do {
		off += 8;
		n = reader_at(r, off, STREAM_RECORD_HEADER, &p);
		if (n == STREAM_RECORD_HEADER &&
			stream_record_decode(p, r->seed, off, &rec) == 0 &&
			rec.synced > seq)
			return 1;
	} while (n == STREAM_RECORD_HEADER);
	return n < 0 ? (int)n : 0;
}

/*
 * Where the last file's records end. Beside an owner that writes, we may have
 * read one record too early and those behind it later: 1 says that it must be
 * there now.
 */
static int last_end(const struct stream_walk *w, struct reader *r, uint64_t off,
	uint64_t *tried)
{
	int synced = was_synced(r, off, w->next);

	if (synced <= 0)
		return synced;
	if (w->set->writable || *tried == off)
		return damaged(r, off,
			"a record that was synced is missing or damaged");
	*tried = off;
	r->have = 0;
	return 1;
}

static int walk_records(
	struct stream_walk *w, struct reader *r, bool last, uint64_t *ret_end)
{
	uint64_t off = STREAM_FILE_HEADER, tried = 0;
	struct stream_record rec;
	const uint8_t *payload;
	int got;

	for (;;) {
		got = record_at(r, off, &rec, &payload);
		if (got == 1 && rec.seq != w->next)
			got = 0;
		if (got == 0 && last) {
			got = last_end(w, r, off, &tried);
			if (got == 1)
				continue;
		}
		if (got != 1)
			break;
		if (rec.kind == STREAM_DATA && rec.seq >= w->from) {
			uint64_t place = (uint64_t)r->file->number << 32 |
					 (off + STREAM_RECORD_HEADER);

			got = w->visit(
				w->arg, rec.seq, place, payload, rec.len);
			if (got != 0)
				return got;
		}
		w->next = stream_record_next(&rec);
		off += stream_record_len(rec.len);
	}
	if (got == 0 && !last) {
		ssize_t n = reader_at(r, off, 1, &payload);

		if (n != 0)
			return n < 0 ? (int)n : damaged(r, off, "is no record");
	}
	*ret_end = off;
	return got;
}

static int walk_file(struct stream_walk *w, struct reader *r, uint32_t number,
	const struct stream_file *after)
{
	struct stream_file *f;
	uint64_t end = 0;
	int err = stream_set_get(w->set, number, &f);

	if (err < 0)
		return err == -ENOENT ? -ESTALE : err;
	r->file = f;
	r->seed = stream_seed(&r->dir->id, r->dir->salt, number);
	r->have = 0;
	err = walk_records(w, r, !after, &end);
	if (err == 0 && after && after->first != w->next)
		err = damaged(r, end, "records behind it are missing");
	if (err == 0)
		stream_set_end(w->set, f, end);
	stream_set_put(w->set, f);
	return err;
}

/*
 * What an owner wrote and did not sync, or could not, may be in memory and not
 * on disk: memory that a failed fdatasync has marked clean is never written
 * again. What the new owner builds on must be what power loss would leave, so
 * all is written that can be, forgotten, and read from the disk.
 */
static int settle(const struct stream_dir *d, int fd)
{
	int r;

	if (fdatasync(fd) != 0)
		return fail(errno, "%s: sync: %m", d->path);
	r = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	return r > 0 ? fail(r, "%s: advise: %m", d->path) : 0;
}

static int add_file(struct stream_walk *w, uint32_t number, bool last)
{
	const struct stream_dir *d = w->set->dir;
	scoped(closep) int fd = -1;
	struct stat st;
	uint64_t first;
	int r;

	r = stream_dir_open_file(
		d, number, w->set->writable ? O_RDWR : O_RDONLY, &fd);
	if (r == 0)
		r = stream_dir_read_header(d, number, fd, &first);
	if (r == 0 && fstat(fd, &st) != 0)
		r = fail(errno, "%s: %m", d->path);
	if (r == 0 && w->set->writable && last)
		r = settle(d, fd);
	if (r == 0)
		r = stream_set_add(w->set, number, first, take_fd(fd));
	if (r == 0)
		stream_set_end(w->set, w->set->files.v[w->set->files.n - 1],
			(uint64_t)st.st_size);
	return r == -ENOENT ? -ESTALE : r;
}

static int add_files(struct stream_walk *w)
{
	struct stream_numbers list = { 0 };
	int r = stream_dir_list(w->set->dir, &list);

	for (size_t i = 0; r == 0 && i < list.n; i++)
		r = add_file(w, list.v[i], i + 1 == list.n);
	vec_fini(&list);
	return r;
}

/*
 * Of files before the one that FROM is in, some may be left by a trim that
 * power loss undid; behind it none may be missing.
 */
static int check_row(const struct stream_walk *w, size_t start)
{
	struct stream_file *const *f = w->set->files.v;
	const struct stream_dir *d = w->set->dir;

	for (size_t i = start; i + 1 < w->set->files.n; i++) {
		char name[STREAM_FILE_NAME];

		if (f[i + 1]->number == f[i]->number + 1)
			continue;
		stream_file_name(f[i]->number + 1, name);
		/* made while we listed them? */
		if (!w->set->writable && faccessat(d->fd, name, F_OK, 0) == 0)
			return -ESTALE;
		return fail(EBADMSG, "%s/%s: is missing", d->path, name);
	}
	return 0;
}

int stream_walk(struct stream_walk *w)
{
	struct reader r = { .dir = w->set->dir };
	struct stream_file *const *f;
	size_t n, start = 0;
	int err = add_files(w);

	w->next = 0;
	if (err < 0)
		return err;
	f = w->set->files.v;
	n = w->set->files.n;
	if (n == 0 && w->from > 0)
		return fail(EBADMSG, "%s: its records are missing",
			w->set->dir->path);
	if (n == 0)
		return 0;
	if (f[0]->first > w->from)
		return -ESTALE;
	while (start + 1 < n && f[start + 1]->first <= w->from)
		start++;
	err = check_row(w, start);
	if (err < 0)
		return err;
	r.buf = malloc(READER_CAP);
	if (!r.buf)
		return fail(ENOMEM, "%s: %m", r.dir->path);
	w->next = f[start]->first;
	for (size_t i = start; i < n && err == 0; i++) {
		/* the disk need not wait for us to come to it */
		if (i + 1 < n && f[i + 1]->fd >= 0)
			(void)posix_fadvise(
				f[i + 1]->fd, 0, 0, POSIX_FADV_WILLNEED);
		err = walk_file(
			w, &r, f[i]->number, i + 1 < n ? f[i + 1] : NULL);
	}
	free(r.buf);
	/* its takeover was synced before anything could tell of FROM */
	if (err == 0 && stream_epoch(w->next) < stream_epoch(w->from))
		err = fail(EBADMSG, "%s: its last records are missing",
			r.dir->path);
	return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/store_repair.h"

#include <bson/bson.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "repo/index.h"
#include "repo/repair_lost.h"
#include "repo/repodir.h"
#include "src/bytes.h"
#include "src/log.h"

#define NEW "index.new"
#define OLD "index.old"
#define BATCH 16384

struct found {
	struct record r;
	bool tombstone;
};

struct repair {
	struct repodir *dir;
	struct index *index; /* the new one */
	struct store_repair result;
	struct vec(uint32_t) ids;
	struct index_state state;
	/* the segment being read */
	struct segment_row row;
	uint64_t bad_n, bad_bytes; /* since the last record that was good */
	uint64_t finished;         /* what lies behind was never acknowledged */
	uint64_t unfinished;       /* damaged bytes there */
	struct vec(struct found) found;
	/* documents that should be in the new index, unless superseded; of the
	 * segment being read since the last record that was good, some more */
	struct repair_knowns unsure;
	struct repair_old old;
	uint64_t end_n, end_bytes; /* damaged at the ends of segments */
};

/* What is remembered of a key of a collection that changes; no padding, since
 * it is written as it is. */
struct latest {
	uint64_t order;
	uint64_t version;
	uint32_t put;
	uint32_t tombstone;
};

static bool is_tombstone(const struct record *r, const uint8_t *body)
{
	bson_iter_t it;
	bson_t b;

	return r->kind == RECORD_PUT && r->coll == COLL_POINTS &&
	       bson_init_static(&b, body, r->body_len) &&
	       bson_iter_init_find(&it, &b, "tombstone") &&
	       BSON_ITER_HOLDS_BOOL(&it) && bson_iter_bool(&it);
}

/* Does NOW, read later, stand rather than WAS? */
static bool is_later(const struct latest *now, const struct latest *was)
{
	if (now->put && was->put && now->tombstone != was->tombstone)
		return now->tombstone;
	if (now->order != was->order)
		return now->order > was->order;
	return now->version > was->version;
}

/* Keys of what is remembered begin with the collection, and so: */
#define LOSER 0x80 /* of chunks and maps: a record that found its key taken */

/* Collection, key and, of chunks and maps, version. */
static size_t scratch_key(const struct record *r, bool version, uint8_t *buf)
{
	size_t n = 1 + (size_t)r->key.len;

	buf[0] = (uint8_t)r->coll;
	memcpy(buf + 1, r->key.b, r->key.len);
	if (version) {
		put_le64(buf + n, r->version);
		n += 8;
	}
	return n;
}

/*
 * Immutable, and in no order: the first one stands, a removal is of one
 * incarnation. Records that found their key taken are kept in mind: what took
 * it may turn out to be removed.
 */
static int apply_content(
	struct index_txn *t, const struct record *r, const struct entry *e)
{
	uint8_t key[1 + KEY_MAX + 8], mark = 0;
	size_t len = scratch_key(r, true, key);
	struct entry old;
	int err;

	if (r->kind == RECORD_PUT) {
		err = index_scratch_get(t, key, len, &mark, 1);
		if (err != -ENOENT)
			return err;
		err = index_insert(t, r->coll, &r->key, e);
		key[0] |= LOSER;
		return err == -EEXIST
			       ? index_scratch_put(t, key, len, e, sizeof(*e))
			       : err;
	}
	err = index_scratch_put(t, key, len, &mark, 1);
	if (err == 0)
		err = index_get(t, r->coll, &r->key, &old);
	if (err == -ENOENT || (err == 0 && old.version != r->version))
		return 0;
	return err < 0 ? err : index_remove(t, r->coll, &r->key, &old);
}

/* Whose key is free after all? */
static int apply_loser(struct index_txn *t, const uint8_t *key, size_t len,
	const void *value, size_t value_len)
{
	uint8_t put[1 + KEY_MAX + 8], mark;
	struct entry e;
	struct key k;
	int err;

	if (!(key[0] & LOSER) || value_len != sizeof(e))
		return 0;
	memcpy(put, key, len);
	put[0] &= (uint8_t)~LOSER;
	err = index_scratch_get(t, put, len, &mark, 1);
	if (err != -ENOENT)
		return err;
	memcpy(&e, value, sizeof(e));
	k = key_of(key + 1, len - 9);
	err = index_insert(t, put[0], &k, &e);
	return err == -EEXIST ? 0 : err;
}

static int apply_change(
	struct index_txn *t, const struct found *f, const struct entry *e)
{
	const struct record *r = &f->r;
	struct latest was, now = { .order = r->order,
		.version = r->version,
		.put = r->kind == RECORD_PUT,
		.tombstone = f->tombstone };
	uint8_t key[1 + KEY_MAX];
	size_t len = scratch_key(r, false, key);
	struct entry old;
	int err = index_scratch_get(t, key, len, &was, sizeof(was));

	if (err == 0 && !is_later(&now, &was))
		return 0;
	if (err < 0 && err != -ENOENT)
		return err;
	err = index_scratch_put(t, key, len, &now, sizeof(now));
	if (err < 0)
		return err;
	err = index_get(t, r->coll, &r->key, &old);
	if (err < 0 && err != -ENOENT)
		return err;
	if (err == 0)
		return now.put ? index_replace(t, r->coll, &r->key, &old, e)
			       : index_remove(t, r->coll, &r->key, &old);
	return now.put ? index_insert(t, r->coll, &r->key, e) : 0;
}

/* What was found so far, and the segment's row, which must come first. */
static int apply(struct index_txn *t, void *arg)
{
	struct repair *p = arg;
	struct segment_row row = { 0 };
	int r = index_row(t, p->row.id, &row);

	if (r < 0 && r != -ENOENT)
		return r;
	p->row.live = row.live;
	r = index_set_row(t, &p->row);
	for (size_t i = 0; r == 0 && i < p->found.n; i++) {
		const struct found *f = &p->found.v[i];
		struct entry e = { .segment = p->row.id,
			.len = f->r.body_len,
			.off = f->r.off,
			.version = f->r.version,
			.generation = f->r.generation };

		if (coll_is_content(f->r.coll))
			r = apply_content(t, &f->r, &e);
		else if (!coll_is_inline(f->r.coll))
			r = apply_change(t, f, &e);
	}
	return r;
}

static int apply_found(struct repair *p)
{
	int r = index_update(p->index, apply, p);

	p->found.n = 0;
	return r;
}

/* A record's header may still tell which document its body was. */
static int take_damaged(struct repair *p, const struct record *rec)
{
	struct repair_known k = {
		.at = { rec->coll, rec->key, p->row.id, rec->off },
		.version = rec->version,
		.order = rec->order,
		.len = rec->len,
	};

	/* power failed in the midst of it: any part of it may be there */
	if (rec->off >= p->finished) {
		p->unfinished += rec->len;
		return 0;
	}
	p->bad_n++;
	p->bad_bytes += rec->len;
	if (rec->kind != RECORD_PUT || rec->order == 0 ||
		coll_is_content(rec->coll) || coll_is_inline(rec->coll))
		return 0;
	return vec_add(&p->unsure, k) < 0 ? fail(ENOMEM, "%s: %m", p->dir->path)
					  : 0;
}

static int take_unsure(struct repair *p)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->unsure.n; i++)
		r = vec_add(&p->old.known, p->unsure.v[i]);
	p->unsure.n = 0;
	return r < 0 ? fail(ENOMEM, "%s: %m", p->dir->path) : 0;
}

static int take_record(
	struct repair *p, const struct record *rec, const uint8_t *body)
{
	struct found f = { .r = *rec };

	if (rec->kind == RECORD_DAMAGED || !body)
		return take_damaged(p, rec);
	/* it was in the midst of records, not an unfinished end */
	if (p->bad_n)
		log_warn("%s/segments/%08x.seg: %llu bytes before offset %llu "
			 "are damaged",
			p->dir->path, p->row.id,
			(unsigned long long)p->bad_bytes,
			(unsigned long long)rec->off);
	p->result.damaged += p->bad_n;
	p->result.damaged_bytes += p->bad_bytes;
	p->bad_n = p->bad_bytes = 0;
	p->row.committed = rec->off + rec->len;
	p->row.colls |= (uint16_t)(1u << rec->coll);
	p->row.journal |= rec->order != 0;
	p->state.order = MAX_OF(p->state.order, rec->order + 1);
	f.tombstone = is_tombstone(rec, body);
	if (take_unsure(p) < 0 || vec_add(&p->found, f) < 0)
		return fail(ENOMEM, "%s: %m", p->dir->path);
	return p->found.n < BATCH ? 0 : apply_found(p);
}

static int check_header(const struct repair *p, int fd, const char *name)
{
	uint8_t header[SEGMENT_HEADER] = { 0 };
	ssize_t n = pread(fd, header, sizeof(header), 0);
	int r;

	if (n < 0 && errno != EIO)
		return fail(
			errno, "%s/segments/%s: read: %m", p->dir->path, name);
	r = segment_header_check(&p->dir->seal, p->row.id, header);
	if (r == -EPROTONOSUPPORT)
		return fail(-r, "%s/segments/%s: needs a newer hivefs",
			p->dir->path, name);
	/* what its records say of themselves is enough */
	if (r < 0 && n == sizeof(header))
		log_warn("%s/segments/%s: the header is damaged", p->dir->path,
			name);
	return 0;
}

/* Where what the old index knows of segment ID ends. */
static uint64_t finished(const struct repair *p, uint32_t id)
{
	for (size_t i = 0; i < p->old.rows.n; i++)
		if (p->old.rows.v[i].segment == id)
			return p->old.rows.v[i].committed;
	return UINT64_MAX;
}

static int read_segment(struct repair *p, uint32_t id)
{
	char name[SEGMENT_NAME];
	scoped(closep) int fd = -1;
	struct segment_scan scan;
	struct record rec;
	const uint8_t *body;
	struct stat st;
	int r;

	p->row = (struct segment_row){
		.id = id, .sealed = true, .committed = SEGMENT_HEADER
	};
	p->bad_n = p->bad_bytes = p->unfinished = 0;
	p->finished = finished(p, id);
	p->unsure.n = 0;
	fd = openat(
		p->dir->segments, segment_name(id, name), O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		return fail(errno, "%s/segments/%s: %m", p->dir->path, name);
	r = check_header(p, fd, name);
	if (r < 0)
		return r;
	segment_scan_init(&scan, fd, segment_seed(&p->dir->seal, id),
		SEGMENT_HEADER,
		MAX_OF((uint64_t)st.st_size, (uint64_t)SEGMENT_HEADER));
	while (r == 0 && (r = segment_scan_next(&scan, &rec, &body)) > 0)
		r = take_record(p, &rec, body);
	segment_scan_fini(&scan);
	if (r == 0)
		r = apply_found(p);
	if (p->bad_n || p->unfinished)
		log_info("%s/segments/%s: %llu bytes at the end are no whole "
			 "records: a write that was not finished",
			p->dir->path, name,
			p->bad_bytes + (unsigned long long)p->unfinished);
	p->state.next_segment = MAX_OF(p->state.next_segment, id + 1);
	p->result.segments++;
	return r;
}

static int by_id(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int list_segments(struct repair *p)
{
	DIR *dir;
	struct dirent *d;
	int fd = openat(
		p->dir->fd, "segments", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = 0;

	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		r = fail(errno, "%s/segments: %m", p->dir->path);
		closep(&fd);
		return r;
	}
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has DIR */
	while (r == 0 && (errno = 0, d = readdir(dir))) {
		uint32_t id = segment_id(d->d_name);

		if (id != 0 && id != UINT32_MAX && vec_add(&p->ids, id) < 0)
			r = fail(ENOMEM, "%s: %m", p->dir->path);
	}
	if (r == 0 && errno != 0)
		r = fail(errno, "%s/segments: %m", p->dir->path);
	closedir(dir);
	if (p->ids.n)
		qsort(p->ids.v, p->ids.n, sizeof(*p->ids.v), by_id);
	return r;
}

/* Is it gone, or does an older version of it stand? */
static int is_lost(struct index_txn *t, const struct repair_known *k)
{
	uint8_t key[1 + KEY_MAX];
	struct record r = { .coll = k->at.coll, .key = k->at.key };
	struct latest now;
	int err = index_scratch_get(
		t, key, scratch_key(&r, false, key), &now, sizeof(now));

	if (err < 0)
		return err == -ENOENT ? 1 : err;
	if (k->order)
		return now.order < k->order && !now.tombstone;
	return now.put && !now.tombstone && now.version < k->version;
}

static bool is_noted(const struct store_repair *res, const struct store_lost *l)
{
	for (size_t i = 0; i < MIN_OF(res->n_lost, (uint64_t)STORE_LOST_MAX);
		i++)
		if (res->lost[i].segment == l->segment &&
			res->lost[i].off == l->off)
			return true;
	return false;
}

/*
 * What was written last may have been acknowledged or not: where the index knew
 * it, it was, and is damage rather than a write that was not finished.
 */
static int count_end(
	struct repair *p, struct index_txn *t, const struct repair_known *k)
{
	char name[SEGMENT_NAME];
	struct segment_row row;
	struct stat st;
	int r = index_row(t, k->at.segment, &row);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (k->at.off < row.committed ||
		fstatat(p->dir->segments, segment_name(k->at.segment, name),
			&st, 0) != 0 ||
		(uint64_t)st.st_size < k->at.off + k->len)
		return 0; /* counted where it was read, or found missing */
	p->end_n++;
	p->end_bytes += k->len;
	return 0;
}

static int find_lost(struct repair *p, struct index_txn *t)
{
	struct store_repair *res = &p->result;

	res->n_lost = p->end_n = p->end_bytes = 0;
	for (size_t i = 0; i < p->old.known.n; i++) {
		const struct repair_known *k = &p->old.known.v[i];
		int r = is_lost(t, k);

		if (r < 0)
			return r;
		if (r == 0 || is_noted(res, &k->at))
			continue;
		r = count_end(p, t, k);
		if (r < 0)
			return r;
		if (res->n_lost < STORE_LOST_MAX)
			res->lost[res->n_lost] = k->at;
		res->n_lost++;
	}
	return 0;
}

static int finish(struct index_txn *t, void *arg)
{
	struct repair *p = arg;
	int r = index_set_state(t, &p->state);

	if (r == 0)
		r = index_scratch_each(t, apply_loser);
	if (r == 0)
		r = find_lost(p, t);
	if (r == 0)
		r = index_flush(t);
	p->result.documents = 0;
	for (unsigned c = 0; c < N_COLLS && r == 0; c++) {
		struct store_count count;

		r = index_count(t, c, &count);
		if (r == 0)
			p->result.documents += count.n;
	}
	return r < 0 ? r : index_scratch_end(t, NULL);
}

static int rebuild(struct repair *p, const char *dir)
{
	int r = index_create(dir, &p->dir->seal.uuid);

	if (r == 0)
		r = index_open(dir, &p->dir->seal.uuid, 0, &p->index);
	if (r == 0)
		r = index_update(p->index, index_scratch_begin, NULL);
	if (r == 0)
		r = list_segments(p);
	/* names are never used again: the last ones given out may be gone */
	p->state = (struct index_state){
		.next_segment = MAX_OF(p->old.next_segment, 1u), .order = 1
	};
	for (size_t i = 0; r == 0 && i < p->ids.n; i++)
		r = read_segment(p, p->ids.v[i]);
	if (r == 0)
		r = index_update(p->index, finish, p);
	p->result.damaged += p->end_n;
	p->result.damaged_bytes += p->end_bytes;
	return r < 0 ? r : index_sync(p->index);
}

/* A kill leaves the old index, the new one, or none, which is noticed. */
static int swap(const struct repodir *d)
{
	scoped(closep) int fd =
		openat(d->fd, NEW, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0 || fsync(fd) != 0)
		return fail(errno, "%s/" NEW ": %m", d->path);
	r = renameat2(d->fd, NEW, d->fd, "index", RENAME_EXCHANGE);
	if (r != 0 && errno != ENOENT && errno != EINVAL && errno != ENOSYS)
		return fail(errno, "%s/" NEW ": %m", d->path);
	if (r != 0) {
		if (renameat(d->fd, "index", d->fd, OLD) != 0 &&
			errno != ENOENT)
			return fail(errno, "%s/index: %m", d->path);
		if (renameat(d->fd, NEW, d->fd, "index") != 0)
			return fail(errno, "%s/" NEW ": %m", d->path);
	}
	if (fsync(d->fd) != 0)
		return fail(errno, "%s: %m", d->path);
	r = repodir_remove_index(d, NEW);
	return r < 0 ? r : repodir_remove_index(d, OLD);
}

int embedded_repair(const char *path, struct store_repair *ret)
{
	scoped(repodir_closep) struct repodir *dir = NULL;
	scoped(freep) char *new = NULL;
	struct repair p = { 0 };
	int r = repodir_open(path, true, &dir);

	if (r < 0)
		return r;
	p.dir = dir;
	if (asprintf(&new, "%s/" NEW, path) < 0) {
		new = NULL;
		return fail(ENOMEM, "%s: %m", path);
	}
	repair_find_lost(dir, &p.result, &p.old);
	r = repodir_remove_index(dir, NEW);
	if (r == 0)
		r = repodir_remove_index(dir, OLD);
	if (r < 0)
		return r;
	if (mkdirat(dir->fd, NEW, 0700) != 0)
		return fail(errno, "%s: %m", new);
	r = rebuild(&p, new);
	if (r == -ENOSPC)
		fail(ENOSPC, "%s: %m", new);
	if (p.index)
		index_close(p.index);
	vec_fini(&p.ids);
	vec_fini(&p.found);
	vec_fini(&p.old.known);
	vec_fini(&p.old.rows);
	vec_fini(&p.unsure);
	if (r == 0)
		r = swap(dir);
	if (r == 0)
		*ret = p.result;
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards what is special to the embedded store: damage is found and named and
 * costs no more than it must; the index can be made anew from the segments and
 * says the same as before; nothing that was never acknowledged comes back; what
 * is no repository, or not ours to write, is left alone.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "repo/embedded.h"
#include "repo/segment.h"
#include "src/bytes.h"
#include "store_help.h"

static int begin(void **state)
{
	(void)state;
	help_begin();
	return 0;
}

static int end(void **state)
{
	(void)state;
	help_end();
	return 0;
}

static bool said(const char *text)
{
	return strstr(help_said, text) != NULL;
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* Runs COMMAND in the repository. */
static void shell(const char *command)
{
	char all[2048];

	snprintf(all, sizeof(all), "cd %s && %s", help_url, command);
	assert_int_equal(system(all), 0);
}

/* Where in segment ID the record of a key is that has this version. */
static struct record find_record(uint32_t id, struct key key, uint64_t version)
{
	char name[SEGMENT_NAME], path[800];
	struct record r = { 0 };
	uint8_t *all;
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/segments/%s", help_url,
		segment_name(id, name));
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	all = malloc((size_t)st.st_size);
	assert_int_equal(read(fd, all, (size_t)st.st_size), st.st_size);
	close(fd);
	for (off_t i = SEGMENT_HEADER; i + RECORD_HEADER < st.st_size; i += 8) {
		const uint8_t *p = all + i;

		if (p[0x0a] != key.len || get_le64(p + 0x10) != version ||
			i + RECORD_HEADER + key.len > st.st_size ||
			memcmp(p + RECORD_HEADER, key.b, key.len) != 0)
			continue;
		r.off = (uint64_t)i;
		r.len = record_len(key.len, get_le32(p + 0x0c));
	}
	free(all);
	assert_int_not_equal(r.off, 0);
	return r;
}

static void flip(const char *name, uint64_t off)
{
	int fd = open(help_path(name), O_RDWR);
	uint8_t b;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, (off_t)off), 1);
	b ^= 4;
	assert_int_equal(pwrite(fd, &b, 1, (off_t)off), 1);
	close(fd);
}

static void flip_segment(uint32_t id, uint64_t off)
{
	char name[64];

	snprintf(name, sizeof(name), "segments/%08x.seg", id);
	flip(name, off);
}

static void put_chunks(struct store *s, unsigned n)
{
	struct doc d[100];
	bool inserted[100];

	assert_true(n <= 100);
	for (unsigned i = 0; i < n; i++)
		d[i] = help_doc(COLL_CHUNKS, help_number(i), i + 1, 20000);
	assert_int_equal(store_insert_many(s, d, n, inserted), 0);
	for (unsigned i = 0; i < n; i++)
		doc_fini(&d[i]);
}

/* Creation and opening. */

static void what_is_no_repository(void **state)
{
	struct uuid u = uuid_random();
	struct store *s;

	(void)state;
	assert_int_equal(store_open(help_url, 0, &s), -ENOMEDIUM);
	assert_true(said("hivefs init"));
	assert_int_equal(mkdir(help_url, 0700), 0);
	assert_int_equal(store_open(help_url, 0, &s), -ENOMEDIUM);
	write_file(help_path("notes"), "mine");
	assert_int_equal(store_create(help_url, &u), -EEXIST);
	assert_true(said("is not empty"));
	assert_int_equal(access(help_path("segments"), F_OK), -1);
	assert_int_equal(unlink(help_path("notes")), 0);
	assert_int_equal(store_create(help_url, &u), 0);
	assert_int_equal(store_create(help_url, &u), -EEXIST);
	write_file(help_path("notes"), "fine");
	store_close(help_open(0));
	assert_int_equal(store_create("/nonexistent/a/b", &u), -ENOENT);
	assert_int_equal(store_create("/dev/null", &u), -EEXIST);
	assert_int_equal(store_create("", &u), -EINVAL);
	assert_int_equal(store_open("mongodb://u:secret@127.0.0.1:1/db?"
				    "serverSelectionTimeoutMS=50",
				 0, &s),
		-EIO);
	assert_true(said("no server answers") && !said("secret"));
	assert_int_equal(
		store_open("mongodb://u:secret@h:port/", 0, &s), -EINVAL);
	assert_true(said("no valid URI") && !said("secret"));
	assert_int_equal(store_open("file://host/path", 0, &s), -EINVAL);
}

static void file_urls(void **state)
{
	struct uuid u = uuid_random();
	char url[700];
	struct store *s;

	(void)state;
	snprintf(url, sizeof(url), "file://%s", help_url);
	assert_int_equal(store_create(url, &u), 0);
	assert_int_equal(store_open(url, 0, &s), 0);
	store_close(s);
	store_close(help_open(0));
}

/* At every step of a creation that was cut short. */
static void an_interrupted_creation_is_taken_up(void **state)
{
	static const char *const left[] = { "", "lock", "index", "segments",
		"reserve", "hivefs.tmp" };
	struct uuid u = uuid_random();
	struct store *s;

	(void)state;
	store_close(help_create());
	for (unsigned n = 0; n < N_ELEMS(left); n++) {
		char keep[256] = "", find[512];

		for (unsigned i = 1; i <= n; i++) {
			strcat(keep, " ! -name ");
			strcat(keep, left[i]);
		}
		snprintf(find, sizeof(find),
			"find . -mindepth 1 -maxdepth 1 %s -exec rm -r {} +",
			keep);
		shell(find);
		if (n >= 2) /* only half made */
			write_file(help_path("index/data.mdb"), "half");
		if (n == 5)
			write_file(help_path("hivefs.tmp"), "hivefs repo");
		assert_int_equal(store_open(help_url, 0, &s), -ENOMEDIUM);
		assert_int_equal(store_create(help_url, &u), 0);
		s = help_open(0);
		assert_int_equal(
			help_put(s, COLL_META, help_key("m"), 1, 10), 0);
		store_close(s);
		/* what was a repository is none to be made over */
		assert_int_equal(unlink(help_path("hivefs")), 0);
		assert_int_equal(store_create(help_url, &u), -EEXIST);
		shell("rm segments/*");
	}
}

static void markers(void **state)
{
	struct store *s;

	(void)state;
	store_close(help_create());
	shell("sed -i 's/^format 1/format 2/' hivefs");
	assert_int_equal(store_open(help_url, 0, &s), -EPROTONOSUPPORT);
	assert_true(said("newer hivefs"));
	shell("sed -i 's/^format 2/format 0/' hivefs");
	assert_int_equal(store_open(help_url, 0, &s), -EPROTONOSUPPORT);
	assert_true(said("older hivefs"));
	shell("sed -i 's/^format 0/format 1/' hivefs");
	store_close(help_open(0));
	shell("sed -i '/^uuid/s/[0-8]/9/' hivefs");
	assert_int_equal(store_open(help_url, 0, &s), -EBADMSG);
	write_file(help_path("hivefs"), "#!/bin/sh\n");
	assert_int_equal(store_open(help_url, 0, &s), -ENOMEDIUM);
}

static void handles_of_one_process_share(void **state)
{
	struct store *a = help_create(), *b = help_open(0);
	struct store_repair repair;

	(void)state;
	assert_int_equal(help_put(a, COLL_META, help_key("k"), 1, 10), 0);
	assert_int_equal(help_version(b, COLL_META, help_key("k")), 1);
	store_close(a);
	assert_int_equal(help_put(b, COLL_META, help_key("k"), 2, 10), 0);
	assert_int_equal(store_repair_index(help_url, &repair), -EBUSY);
	store_close(b);
	assert_int_equal(store_repair_index(help_url, &repair), 0);
	assert_int_equal(repair.documents, 1);
}

/* Damage. */

static struct {
	unsigned good, bad;
	struct key last_bad;
} walked;

static int walk_visit(void *arg, const struct doc *d, int err, unsigned thread)
{
	(void)arg;
	(void)thread;
	if (err == 0) {
		assert_true(help_right(d));
		walked.good++;
		return 0;
	}
	assert_int_equal(err, -EBADMSG);
	assert_null(d->body);
	walked.bad++;
	walked.last_bad = d->key;
	return 0;
}

static void walk(struct store *s, enum coll c, unsigned good, unsigned bad)
{
	memset(&walked, 0, sizeof(walked));
	assert_int_equal(store_walk(s, c, 1, walk_visit, NULL), 0);
	assert_int_equal(walked.good, good);
	assert_int_equal(walked.bad, bad);
}

static int count_visit(void *arg, const struct doc *d)
{
	assert_true(help_right(d));
	++*(unsigned *)arg;
	return 0;
}

/* One chunk is damaged at AT from its record's beginning. */
static void damage(uint64_t at)
{
	struct store *s = help_create();
	struct key k = help_number(40), keys[100];
	struct store_repair repair;
	struct doc docs[100], d;
	struct record rec;
	int err[100];
	unsigned n = 0;

	put_chunks(s, 100);
	for (unsigned i = 0; i < 100; i++)
		keys[i] = help_number(i);
	walk(s, COLL_CHUNKS, 100, 0);
	rec = find_record(1, k, 41);
	flip_segment(1, rec.off + at);
	assert_int_equal(store_get(s, COLL_CHUNKS, &k, &d), -EBADMSG);
	assert_true(said("chunk 00000040") && said("segment 00000001"));
	assert_int_equal(store_get_many(s, COLL_CHUNKS, keys, 100, docs, NULL),
		-EBADMSG);
	assert_int_equal(
		store_get_many(s, COLL_CHUNKS, keys, 100, docs, err), 0);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(err[i], i == 40 ? -EBADMSG : 0);
		assert_int_equal(docs[i].body != NULL, i != 40);
		doc_fini(&docs[i]);
	}
	assert_int_equal(
		store_scan(s, COLL_CHUNKS, NULL, 0, count_visit, &n), -EBADMSG);
	assert_int_equal(n, 99);
	walk(s, COLL_CHUNKS, 99, 1);
	assert_true(key_eq(&walked.last_bad, &k));
	store_close(s);
	assert_int_equal(store_repair_index(help_url, &repair), 0);
	assert_int_equal(repair.damaged, 1);
	assert_int_equal(repair.damaged_bytes, rec.len);
	assert_int_equal(repair.documents, 99);
	s = help_open(0);
	assert_int_equal(help_version(s, COLL_CHUNKS, k), 0);
	/* the same bytes heal it */
	assert_int_equal(help_put(s, COLL_CHUNKS, k, 500, 20000), 0);
	walk(s, COLL_CHUNKS, 100, 0);
	store_close(s);
}

static void a_damaged_body(void **state)
{
	(void)state;
	damage(RECORD_HEADER + 8 + 7000);
}

static void a_damaged_header(void **state)
{
	(void)state;
	damage(0x10);
}

static void a_lost_segment(void **state)
{
	struct store *s = help_create();

	(void)state;
	put_chunks(s, 50);
	assert_int_equal(help_put(s, COLL_MAPS, help_key("m"), 1, 10), 0);
	store_close(s);
	assert_int_equal(unlink(help_path("segments/00000001.seg")), 0);
	s = help_open(0);
	walk(s, COLL_CHUNKS, 0, 50);
	walk(s, COLL_MAPS, 1, 0);
	store_close(s);
}

/* Finds where in a file bytes are, after FROM; 0: nowhere. */
static uint64_t find_bytes(
	const char *name, const void *bytes, size_t len, uint64_t from)
{
	int fd = open(help_path(name), O_RDONLY);
	struct stat st;
	uint8_t *all, *at;
	uint64_t off = 0;

	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	all = malloc((size_t)st.st_size);
	assert_int_equal(read(fd, all, (size_t)st.st_size), st.st_size);
	at = memmem(all + from, (size_t)st.st_size - from, bytes, len);
	if (at)
		off = (uint64_t)(at - all);
	free(all);
	close(fd);
	return off;
}

/* LMDB itself would hand out the changed value without a word. */
static void a_damaged_index_value(void **state)
{
	struct store *s = help_create();
	struct key k = help_key("a-key-found-nowhere-else");
	struct store_repair repair;
	struct doc d;

	(void)state;
	assert_int_equal(help_put(s, COLL_POINTS, k, 1, 10), 0);
	assert_int_equal(store_sync(s), 0);
	store_close(s);
	for (uint64_t at = 1;
		(at = find_bytes("index/data.mdb", k.b, k.len, at + 1)) != 0;)
		flip("index/data.mdb", at + k.len + 28);
	s = help_open(0);
	assert_int_equal(store_get(s, COLL_POINTS, &k, &d), -EBADMSG);
	assert_true(said("repair --index"));
	store_close(s);
	assert_int_equal(store_repair_index(help_url, &repair), 0);
	s = help_open(0);
	assert_int_equal(help_version(s, COLL_POINTS, k), 1);
	store_close(s);
}

static void a_broken_index(void **state)
{
	static const char *const how[] = { "rm -r index", "rm index/data.mdb",
		"truncate -s 10000 index/data.mdb",
		"head -c 8192 /dev/zero 1<>index/data.mdb" };
	struct store *s = help_create();
	struct store_repair repair;

	(void)state;
	put_chunks(s, 20);
	assert_int_equal(help_put(s, COLL_POINTS, help_key("p"), 1, 10), 0);
	store_close(s);
	for (unsigned i = 0; i < N_ELEMS(how); i++) {
		shell(how[i]);
		assert_int_equal(store_open(help_url, 0, &s), -EBADMSG);
		assert_true(said("repair --index"));
		assert_int_equal(store_repair_index(help_url, &repair), 0);
		assert_int_equal(repair.documents, 21);
		assert_int_equal(repair.damaged, 0);
		s = help_open(0);
		walk(s, COLL_CHUNKS, 20, 0);
		help_check_counts(s);
		store_close(s);
		assert_int_equal(access(help_path("index.new"), F_OK), -1);
	}
}

/* Rebuilding. */

/* Everything that ever happened to a key, in one history; then once more. */
static void rebuilding_changes_nothing(void **state)
{
	struct store *s = help_create();
	struct store_count before[N_COLLS], after[N_COLLS];
	struct store_repair repair;
	struct store_info info;
	struct doc d = help_doc(COLL_CHUNKS, help_number(99), 9999, 5);
	uint64_t n_dead;

	(void)state;
	put_chunks(s, 100);
	assert_int_equal(store_replace(s, &d, 100), 0);
	doc_fini(&d);
	for (unsigned c = 0; c < COLL_WRITERS; c++)
		for (unsigned i = 0; i < 40; i++) {
			struct key k = help_number(i + 50);
			bool content = c == COLL_CHUNKS || c == COLL_MAPS;
			unsigned v = 1;

			if (help_put(s, c, k, 1000 * content + 1, 50) != 0)
				continue; /* one of the hundred */
			while (!content && v < i % 5)
				assert_int_equal(
					help_put(s, c, k, ++v, 60 + i), 0);
			if (i % 3 == 0)
				assert_int_equal(store_remove(s, c, &k,
							 content ? 1001 : v),
					0);
			/* back again, as young as it once was */
			if (i % 6 == 0)
				assert_int_equal(
					help_put(s, c, k, content ? 2002 : 1,
						70),
					0);
		}
	for (unsigned i = 0; i < 100; i += 2) {
		struct key k = help_number(i);

		assert_int_equal(store_remove(s, COLL_CHUNKS, &k, i + 1), 0);
		if (i % 4 == 0)
			assert_int_equal(
				help_put(s, COLL_CHUNKS, k, 5000 + i, 99), 0);
	}
	help_counts(s, before);
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(store_info(s, &info), 0);
		n_dead = info.bytes_dead;
		store_close(s);
		assert_int_equal(store_repair_index(help_url, &repair), 0);
		assert_int_equal(repair.damaged, 0);
		s = help_open(0);
		help_counts(s, after);
		for (unsigned c = 0; c < N_COLLS; c++)
			assert_true(help_same_count(&before[c], &after[c]));
		assert_int_equal(store_info(s, &info), 0);
		assert_int_equal(info.bytes_dead, n_dead);
		help_check_counts(s);
		walk(s, COLL_CHUNKS, (unsigned)before[COLL_CHUNKS].n, 0);
		walk(s, COLL_LABELS, (unsigned)before[COLL_LABELS].n, 0);
		/* it can be written to, and that stands the next time */
		assert_int_equal(
			help_put(s, COLL_META, help_number(round + 900), 1, 9),
			0);
		help_counts(s, before);
	}
	store_close(s);
}

static void writers_and_condemned_are_lost(void **state)
{
	struct store *s = help_create();
	struct store_repair repair;

	(void)state;
	assert_int_equal(help_put(s, COLL_WRITERS, help_key("w"), 1, 10), 0);
	assert_int_equal(help_put(s, COLL_CONDEMNED, help_key("c"), 1, 10), 0);
	store_close(s);
	assert_int_equal(store_repair_index(help_url, &repair), 0);
	s = help_open(0);
	assert_int_equal(help_version(s, COLL_WRITERS, help_key("w")), 0);
	assert_int_equal(help_version(s, COLL_CONDEMNED, help_key("c")), 0);
	help_check_counts(s);
	store_close(s);
}

/* {"tombstone": true} and {"tombstone": false} */
static const uint8_t dead[] = "\x11\0\0\0\x08tombstone\0\x01";
static const uint8_t alive[] = "\x11\0\0\0\x08tombstone\0\x00";

static void a_tombstone_stands(void **state)
{
	struct store *s = help_create();
	struct store_repair repair;
	struct doc d = { .coll = COLL_POINTS,
		.key = help_key("p"),
		.version = 1,
		.body = dead,
		.len = 17 };

	(void)state;
	static_assert(sizeof(dead) == 17 && sizeof(alive) == 17,
		"the zero at the end is theirs");
	assert_int_equal(store_insert(s, &d), 0);
	/* as if the point's record came later, from wherever */
	d.version = 2;
	d.body = alive;
	assert_int_equal(store_replace(s, &d, 1), 0);
	store_close(s);
	assert_int_equal(store_repair_index(help_url, &repair), 0);
	s = help_open(0);
	assert_int_equal(store_get(s, COLL_POINTS, &d.key, &d), 0);
	assert_int_equal(d.version, 1);
	doc_fini(&d);
	store_close(s);
}

/*
 * A change whose record is on disk while the index never heard of it: power was
 * lost, or the process killed, in between. The next change of the same key
 * stands, also after a rebuild, whatever the lost one was.
 */
static void what_was_not_acknowledged_stays_away(void **state)
{
	struct key k = help_key("k"), other = help_key("other");
	struct store_repair repair;

	(void)state;
	for (unsigned lost = 0; lost < 3; lost++) {
		struct store *s = help_create();

		assert_int_equal(help_put(s, COLL_LABELS, k, 1, 10), 0);
		store_close(s);
		shell("cp -r index ../index.saved");
		s = help_open(0);
		if (lost == 0)
			assert_int_equal(
				store_remove(s, COLL_LABELS, &k, 1), 0);
		if (lost == 1)
			assert_int_equal(help_put(s, COLL_LABELS, k, 2, 11), 0);
		for (unsigned v = 2; lost == 2 && v < 9; v++)
			assert_int_equal(
				help_put(s, COLL_LABELS, k, v, 1000), 0);
		store_close(s);
		shell("rm -r index && mv ../index.saved index");
		s = help_open(0);
		assert_int_equal(help_version(s, COLL_LABELS, k), 1);
		if (lost == 1) /* another key, and shorter */
			assert_int_equal(
				help_put(s, COLL_LABELS, other, 1, 0), 0);
		else
			assert_int_equal(help_put(s, COLL_LABELS, k, 2, 12), 0);
		store_close(s);
		assert_int_equal(store_repair_index(help_url, &repair), 0);
		s = help_open(0);
		assert_int_equal(
			help_version(s, COLL_LABELS, k), lost == 1 ? 1 : 2);
		help_check_counts(s);
		store_close(s);
		shell("rm -r ../repo");
	}
}

/* Bytes a bulk writer never published are cut off by the next one. */
static void unpublished_chunks_are_cut_off(void **state)
{
	struct store *s = help_create();
	struct stat before, after;

	(void)state;
	put_chunks(s, 10);
	store_close(s);
	assert_int_equal(stat(help_path("segments/00000001.seg"), &before), 0);
	shell("head -c 5000 /dev/urandom >>segments/00000001.seg");
	s = help_open(0);
	assert_int_equal(
		help_put(s, COLL_CHUNKS, help_key("more"), 1, 1000), 0);
	assert_int_equal(stat(help_path("segments/00000001.seg"), &after), 0);
	assert_int_equal(after.st_size, before.st_size + record_len(4, 1000));
	walk(s, COLL_CHUNKS, 11, 0);
	store_close(s);
}

/* A repository is begun in the middle of a guest's disk: its records, stored
 * as chunks here, are not found even where damage makes repair look. */
static void planted_records_are_not_found(void **state)
{
	struct store *s = help_create();
	struct store_repair repair;
	struct record rec;
	struct doc d;
	uint8_t *body;
	char path[700];
	int fd;

	(void)state;
	put_chunks(s, 5);
	body = malloc(200000);
	snprintf(path, sizeof(path), "%s/segments/00000001.seg", help_url);
	fd = open(path, O_RDONLY);
	assert_true(pread(fd, body, 120000, SEGMENT_HEADER) > 100000);
	close(fd);
	d = (struct doc){ .coll = COLL_CHUNKS,
		.key = help_key("evil"),
		.version = 77,
		.body = body,
		.len = 100000 };
	assert_int_equal(store_insert(s, &d), 0);
	assert_int_equal(help_put(s, COLL_CHUNKS, help_key("z"), 1, 100), 0);
	for (unsigned i = 0; i < 5; i++) {
		struct key k = help_number(i);

		assert_int_equal(store_remove(s, COLL_CHUNKS, &k, i + 1), 0);
	}
	rec = find_record(1, d.key, 77);
	store_close(s);
	flip_segment(1, rec.off);
	assert_int_equal(store_repair_index(help_url, &repair), 0);
	assert_int_equal(repair.documents, 1);
	assert_int_equal(repair.damaged_bytes, rec.len);
	free(body);
}

static int lose_row(struct index_txn *t, void *arg)
{
	struct segment_row *row = arg;
	int r = index_row(t, row->id, row);

	return r < 0 ? r : index_remove_row(t, row->id);
}

static int find_row(struct index_txn *t, void *arg)
{
	return index_set_row(t, arg);
}

static int compact(struct store *s)
{
	_Atomic uint64_t done, total;
	struct store_compact res;

	return store_compact(s, &done, &total, NULL, &res);
}

/*
 * A file that the table of segments does not know is left of a removal, and
 * goes, unless documents are in it: then a damaged page has lost the row.
 */
static void files_that_no_row_knows(void **state)
{
	struct segment_row row = { .id = 1 };
	struct store *s = help_create();
	char name[SEGMENT_NAME], path[800];
	struct index *index;

	(void)state;
	put_chunks(s, 30);
	store_close(s);
	snprintf(path, sizeof(path), "%s/segments/%s", help_url,
		segment_name(row.id, name));
	shell("cp -a segments segments.kept");
	s = help_open(0);
	index = handle_of(s)->e->index;
	assert_int_equal(index_update(index, lose_row, &row), 0);
	assert_int_equal(compact(s), -EBADMSG);
	assert_true(said("repair --index"));
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(index_update(index, find_row, &row), 0);
	for (unsigned i = 0; i < 30; i++) {
		struct key k = help_number(i);

		assert_int_equal(store_remove(s, COLL_CHUNKS, &k, i + 1), 0);
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(compact(s), 0);
		assert_int_not_equal(access(path, F_OK), 0);
		shell("cp -a segments.kept/. segments");
	}
	store_close(s);
}

/* A file system of its own, which may become full or read-only. */
static bool small_fs(const char *options)
{
	assert_int_equal(mkdir(help_url, 0700), 0);
	if (unshare(CLONE_NEWNS) != 0 ||
		mount("", "/", "", MS_PRIVATE | MS_REC, NULL) != 0 ||
		mount("none", help_url, "tmpfs", 0, options) != 0) {
		rmdir(help_url);
		return false;
	}
	return true;
}

static void run_read_only(void)
{
	struct store *s = help_create();

	put_chunks(s, 30);
	assert_int_equal(help_put(s, COLL_LABELS, help_key("k"), 1, 10), 0);
	store_close(s);
	assert_int_equal(
		mount("", help_url, "", MS_REMOUNT | MS_RDONLY, NULL), 0);
	assert_int_equal(store_open(help_url, 0, &s), -EROFS);
	assert_true(said("read-only"));
	s = help_open(STORE_READ_ONLY);
	assert_int_equal(help_version(s, COLL_LABELS, help_key("k")), 1);
	walk(s, COLL_CHUNKS, 30, 0);
	help_check_counts(s);
	assert_int_equal(help_put(s, COLL_LABELS, help_key("k"), 2, 9), -EROFS);
	assert_int_equal(store_sync(s), 0);
	store_close(s);
}

static void run_full(void)
{
	struct store *s = help_create();
	struct stat st;
	unsigned n = 0, labels = 0;
	int r;

	assert_int_equal(stat(help_path("reserve"), &st), 0);
	assert_int_equal(st.st_blocks * 512, 16 << 20);
	while ((r = help_put(s, COLL_CHUNKS, help_number(n), 1, 300000)) == 0)
		n++;
	assert_int_equal(r, -ENOSPC);
	assert_true(n > 100);
	while ((r = help_put(s, COLL_LABELS, help_number(labels), 1, 900)) == 0)
		labels++;
	assert_int_equal(r, -ENOSPC);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(
			help_version(s, COLL_CHUNKS, help_number(i)), 1);
	help_check_counts(s);
	store_close(s);
	/* nothing goes any more, but for who makes space */
	s = help_open(0);
	assert_int_equal(
		help_put(s, COLL_LABELS, help_number(labels), 1, 900), -ENOSPC);
	store_close(s);
	s = help_open(STORE_SPEND_RESERVE);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(
			help_put(s, COLL_CONDEMNED, help_number(i), 1, 300), 0);
	for (unsigned i = 0; i < 100; i++) {
		struct key k = help_number(i);

		assert_int_equal(store_remove(s, COLL_CHUNKS, &k, 1), 0);
	}
	assert_int_equal(stat(help_path("reserve"), &st), 0);
	assert_int_equal(st.st_size, 0);
	walk(s, COLL_CHUNKS, n - 100, 0);
	help_check_counts(s);
	store_close(s);
}

/* In a child: its mounts go with it. */
static void on_small_fs(void (*run)(void))
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		if (!small_fs("size=128m"))
			_exit(77);
		run();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	rmdir(help_url);
}

static void a_read_only_file_system(void **state)
{
	(void)state;
	on_small_fs(run_read_only);
}

static void a_full_file_system(void **state)
{
	(void)state;
	on_small_fs(run_full);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(what_is_no_repository),
		TEST(file_urls),
		TEST(an_interrupted_creation_is_taken_up),
		TEST(markers),
		TEST(handles_of_one_process_share),
		TEST(a_damaged_body),
		TEST(a_damaged_header),
		TEST(a_lost_segment),
		TEST(a_damaged_index_value),
		TEST(a_broken_index),
		TEST(rebuilding_changes_nothing),
		TEST(writers_and_condemned_are_lost),
		TEST(a_tombstone_stands),
		TEST(what_was_not_acknowledged_stays_away),
		TEST(unpublished_chunks_are_cut_off),
		TEST(planted_records_are_not_found),
		TEST(files_that_no_row_knows),
		TEST(a_read_only_file_system),
		TEST(a_full_file_system),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

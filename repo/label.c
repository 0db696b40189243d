/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/label.h"

#include <bson/bson.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "repo/clock.h"
#include "repo/clone.h"
#include "repo/decode.h"
#include "repo/machine.h"
#include "src/log.h"
#include "src/text.h"

/* The length of the mark at P, which the next blank ends. */
static size_t mark_len(const char *p)
{
	return strcspn(p, " ");
}

/* Where MARK is among them, or NULL. */
static char *find_mark(const struct label *l, const char *mark)
{
	size_t n = strlen(mark);
	const char *p = l->marks;

	while (*p) {
		size_t len = mark_len(p);

		if (len == n && memcmp(p, mark, n) == 0)
			return (char *)(uintptr_t)p;
		p += len + (p[len] == ' ');
	}
	return NULL;
}

bool label_has(const struct label *l, const char *mark)
{
	return find_mark(l, mark) != NULL;
}

int label_add(struct label *l, const char *mark)
{
	size_t len = strlen(l->marks);

	if (label_has(l, mark))
		return 0;
	if (len + 1 + strlen(mark) > LABEL_MARKS_MAX)
		return fail(E2BIG, "%s: too many tags and bookmarks", mark);
	if (len)
		l->marks[len++] = ' ';
	memcpy(l->marks + len, mark, strlen(mark) + 1);
	return 1;
}

int label_take(struct label *l, const char *mark)
{
	char *at = find_mark(l, mark);
	char *rest;

	if (!at)
		return 0;
	rest = at + strlen(mark);
	if (*rest == ' ')
		rest++;
	else if (at > l->marks)
		at--; /* the last one: the blank before it */
	memmove(at, rest, strlen(rest) + 1);
	return 1;
}

static bool mark_ok(const char *mark)
{
	return name_ok(mark[0] == '#' ? mark + 1 : mark);
}

static void decode_marks(struct decode *in, struct label *l)
{
	bson_iter_t i;

	if (!decode_has(in, "tags") || !decode_array(in, "tags", &i))
		return;
	while (!in->bad && bson_iter_next(&i)) {
		const char *mark = BSON_ITER_HOLDS_UTF8(&i)
					   ? bson_iter_utf8(&i, NULL)
					   : "";

		if (!mark_ok(mark) || label_add(l, mark) < 0) {
			in->bad = true;
			in->field = "tags";
		}
	}
}

static void append_marks(bson_t *b, const struct label *l)
{
	const char *p = l->marks, *index;
	bson_t array;
	char buf[16];

	BSON_APPEND_ARRAY_BEGIN(b, "tags", &array);
	for (uint32_t i = 0; *p; i++) {
		size_t len = mark_len(p);

		bson_uint32_to_string(i, &index, buf, sizeof(buf));
		bson_append_utf8(&array, index, -1, p, (int)len);
		p += len + (p[len] == ' ');
	}
	bson_append_array_end(b, &array);
}

int label_get(struct repo *r, const struct point_id *id, struct label *ret)
{
	struct key key = point_key(id);
	struct label l = { 0 };
	struct decode in;
	struct doc d;
	int err = store_get(r->store, COLL_LABELS, &key, &d);

	if (err == -ENOENT) {
		*ret = l;
		return 0;
	}
	if (err < 0)
		return err;
	decode_begin(&in, &d);
	l.version = d.version;
	l.removed = decode_bool(&in, "removed");
	l.hold_until = decode_i64(&in, "hold_until", 0, INT64_MAX);
	decode_marks(&in, &l);
	err = decode_end(&in, "label");
	doc_fini(&d);
	if (err == 0)
		*ret = l;
	return err;
}

static int swap(
	struct repo *r, const struct point_id *id, const struct label *l)
{
	bson_t b = BSON_INITIALIZER;
	struct doc d;
	int err;

	BSON_APPEND_BOOL(&b, "removed", l->removed);
	BSON_APPEND_INT64(&b, "hold_until", l->hold_until);
	if (l->marks[0])
		append_marks(&b, l);
	d = (struct doc){ .coll = COLL_LABELS,
		.key = point_key(id),
		.version = l->version + 1,
		.body = bson_get_data(&b),
		.len = b.len };
	err = l->version ? store_replace(r->store, &d, l->version)
			 : store_insert(r->store, &d);
	bson_destroy(&b);
	return err;
}

int label_update(struct repo *r, const struct point_id *id,
	int (*change)(void *arg, struct label *l), void *arg)
{
	struct label l;
	int err;

	do {
		err = label_get(r, id, &l);
		if (err == 0)
			err = change(arg, &l);
		if (err != 0)
			return err;
		err = swap(r, id, &l);
	} while (err == -ESTALE || err == -EEXIST || err == -ENOENT);
	return err < 0 ? err : store_sync(r->store);
}

int label_drop(struct repo *r, const struct point_id *id, const struct label *l)
{
	struct key key = point_key(id);
	int err = store_remove(r->store, COLL_LABELS, &key, l->version);

	return err == -ENOENT || err == -ESTALE ? 0 : err;
}

static int check_no_clone(struct repo *r, const struct point_id *id)
{
	struct uuid own = clone_own_id(id);
	scoped(freep) char *text = NULL;
	struct clone c;
	int err = clone_get(r, &own, &c);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	text = clone_text(&c);
	clone_fini(&c);
	return text ? fail(EPERM,
			      "%s: was written to, and a point stays for as "
			      "long as its own clone: hivefs discard %s drops "
			      "what was written",
			      text, text)
		    : fail(ENOMEM, "clone: %m");
}

struct removal {
	struct repo *repo;
	const struct point_id *id;
};

static int held(struct repo *r, const struct point_id *id,
	const struct label *l, const char *more)
{
	scoped(freep) char *name = machine_name(r, &id->machine);
	char when[32], until[32];

	return fail(EPERM, "%s@%s: is on hold until %s%s", name ? name : "?",
		time_text(id->time, when), time_text(l->hold_until, until),
		more);
}

static int check_removable(const struct removal *m, const struct label *l)
{
	int err;

	if (l->removed)
		return -ENOENT;
	if (l->hold_until > time(NULL))
		return held(m->repo, m->id, l, "");
	/* a clock that is ahead must not end it */
	if (l->hold_until && (err = repo_check_clock(m->repo)) < 0)
		return err;
	return check_no_clone(m->repo, m->id);
}

/*
 * The label was read before: a clone that is not seen here and is forked before
 * the label is swapped makes the swap fail, by point_keep().
 */
static int mark_removed(void *arg, struct label *l)
{
	int err = check_removable(arg, l);

	l->removed = err == 0;
	return err;
}

int point_remove(struct repo *r, const struct point_id *id)
{
	struct removal m = { r, id };

	return label_update(r, id, mark_removed, &m);
}

int point_removable(struct repo *r, const struct point_id *id)
{
	struct removal m = { r, id };
	struct label l;
	int err = label_get(r, id, &l);

	return err < 0 ? err : check_removable(&m, &l);
}

struct holding {
	struct repo *repo;
	const struct point_id *id;
	int64_t until;
};

static int set_hold(void *arg, struct label *l)
{
	const struct holding *h = arg;

	if (l->removed)
		return -ENOENT;
	if (l->hold_until > h->until)
		return held(h->repo, h->id, l, ", and a hold is not shortened");
	l->hold_until = h->until;
	return 0;
}

int point_hold(struct repo *r, const struct point_id *id, int64_t until)
{
	struct holding h = { r, id, until };

	return label_update(r, id, set_hold, &h);
}

static int count_up(void *arg, struct label *l)
{
	(void)arg;
	return l->removed ? -ENOENT : 0;
}

int point_keep(struct repo *r, const struct point_id *id)
{
	return label_update(r, id, count_up, NULL);
}

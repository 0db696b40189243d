/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/address.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "repo/clone.h"
#include "repo/label.h"
#include "repo/machine.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/text.h"

#define NAME_MAX_LEN 128u
#define ALIAS_MIN 4u
#define ALIAS_MAX (2u * sizeof(struct uuid))
#define LIST_MAX 6u /* names in a message */

enum when_kind { WHEN_LATEST, WHEN_TIME, WHEN_ALIAS, WHEN_BOOKMARK };

struct wish {
	const char *text;               /* as it was typed */
	char machine[NAME_MAX_LEN + 1]; /* "": of any */
	char disk[NAME_MAX_LEN + 1];    /* "": none named */
	enum when_kind kind;
	uint64_t back;             /* WHEN_LATEST: points to go back */
	int64_t time;              /* WHEN_TIME */
	char alias[ALIAS_MAX + 1]; /* a prefix in lower case; "": any */
	const char *bookmark;      /* WHEN_BOOKMARK: with its # */
};

/* "db, mail, web", and how many more there are */
struct names {
	char text[LIST_MAX * (NAME_MAX_LEN + 64)];
	size_t len;
	uint64_t n;
};

static void names_add(struct names *l, const char *name)
{
	l->n++;
	if (l->n <= LIST_MAX)
		l->len += (size_t)snprintf(l->text + l->len,
			sizeof(l->text) - l->len, "%s%s", l->n > 1 ? ", " : "",
			name);
	else if (l->n == LIST_MAX + 1)
		l->len += (size_t)snprintf(
			l->text + l->len, sizeof(l->text) - l->len, ", …");
}

static char *point_text(
	const char *machine, const struct point_id *id, bool with_alias)
{
	char alias[ALIAS_LEN + 1], when[32];
	char *text;

	if (asprintf(&text, "%s@%s%s%s", machine, time_text(id->time, when),
		    with_alias ? "-" : "",
		    with_alias ? point_alias(id, alias) : "") < 0)
		return NULL;
	return text;
}

char *address_text(const struct point *p)
{
	return point_text(p->machine, &p->id, false);
}

static int count_second(void *arg, const struct doc *doc)
{
	(void)doc;
	++*(unsigned *)arg;
	return 0;
}

int address_full(struct repo *r, const struct point *p, char **ret)
{
	struct key key = point_key(&p->id);
	unsigned n = 0;
	int err;

	/* all but the writer; tombstones count too, which does no harm */
	key.len = (uint8_t)(POINT_ID_LEN - sizeof(p->id.writer));
	err = store_scan(
		r->store, COLL_POINTS, &key, SCAN_KEYS, count_second, &n);
	if (err < 0)
		return err;
	*ret = point_text(p->machine, &p->id, n > 1);
	return *ret ? 0 : fail(ENOMEM, "%s: %m", p->machine);
}

static bool parse_alias(const char *text, size_t min, char ret[ALIAS_MAX + 1])
{
	size_t n = strspn(text, "0123456789abcdefABCDEF");

	if (text[n] || n < min || n > ALIAS_MAX)
		return false;
	for (size_t i = 0; i <= n; i++)
		ret[i] = (char)tolower((unsigned char)text[i]);
	return true;
}

static bool parse_when(const char *text, struct wish *w)
{
	const char *end;

	if (strncmp(text, "latest", 6) == 0) {
		w->kind = WHEN_LATEST;
		if (text[6] == 0)
			return true;
		end = text + 7 + strspn(text + 7, "0123456789");
		if (text[6] != '~' || *end || end == text + 7 ||
			end - text > 7 + 9)
			return false;
		w->back = strtoull(text + 7, NULL, 10);
		return true;
	}
	if (text[0] == '#') {
		w->kind = WHEN_BOOKMARK;
		w->bookmark = text;
		return name_ok(text + 1);
	}
	if (time_parse(text, &w->time, &end) == 0) {
		w->kind = WHEN_TIME;
		return *end == 0 ||
		       (*end == '-' && parse_alias(end + 1, 1, w->alias));
	}
	w->kind = WHEN_ALIAS;
	return parse_alias(text, ALIAS_MIN, w->alias);
}

static bool copy_name(const char *from, size_t len, char to[NAME_MAX_LEN + 1])
{
	if (len > NAME_MAX_LEN)
		return false;
	memcpy(to, from, len);
	to[len] = 0;
	return true;
}

static int parse(const char *text, struct wish *ret)
{
	const char *at = strchr(text, '@');
	const char *slash = at ? memchr(text, '/', (size_t)(at - text)) : NULL;
	const char *end = slash ? slash : at;

	*ret = (struct wish){ .text = text, .kind = WHEN_ALIAS };
	if (!at)
		return parse_alias(text, ALIAS_MIN, ret->alias)
			       ? 0
			       : fail(EINVAL,
					 "%s: is no address: say "
					 "MACHINE[/DISK]@WHEN, as web@latest",
					 text);
	if (!copy_name(text, (size_t)(end - text), ret->machine) ||
		!machine_name_ok(ret->machine))
		return fail(EINVAL, "%s: '%.*s' is no machine's name", text,
			(int)(end - text), text);
	if (slash &&
		(!copy_name(slash + 1, (size_t)(at - slash - 1), ret->disk) ||
			!disk_name_ok(ret->disk)))
		return fail(EINVAL, "%s: '%.*s' is no disk's name", text,
			(int)(at - slash - 1), slash + 1);
	if (!parse_when(at + 1, ret))
		return fail(EINVAL,
			"%s: behind the @ belongs latest, latest~N, a time as "
			"2026-11-20T08:42:45Z, #BOOKMARK, or %u and more "
			"digits of an alias",
			text, ALIAS_MIN);
	return 0;
}

struct search {
	struct repo *repo;
	const struct wish *wish;
	bool damaged;          /* the one that was found is */
	struct point_id found; /* the first of n_found */
	uint64_t n_found;
	struct names candidates;
	uint64_t n; /* points looked at, newest first */
	struct point_id newest, oldest;
};

static bool matches(const struct wish *w, const struct point_id *id)
{
	char hex[ALIAS_MAX + 1];

	if (w->kind == WHEN_TIME && id->time != w->time)
		return false;
	hex_encode(id->writer.b, sizeof(id->writer.b), hex);
	return strncmp(hex, w->alias, strlen(w->alias)) == 0;
}

/* Owned; as it was typed, or as the repository has it. */
static char *name_of(
	struct repo *r, const struct wish *w, const struct uuid *uuid)
{
	return w->machine[0] ? strdup(w->machine) : machine_name(r, uuid);
}

static int visit_point(void *arg, const struct point *p)
{
	struct search *s = arg;
	scoped(freep) char *text = NULL;
	scoped(freep) char *machine = NULL;

	if (s->n++ == 0)
		s->newest = p->id;
	s->oldest = p->id;
	if (s->wish->kind == WHEN_LATEST) {
		if (s->n <= s->wish->back)
			return 0;
		s->found = p->id;
		s->n_found = 1;
		return 1;
	}
	if (s->wish->kind == WHEN_BOOKMARK) {
		struct label l;
		int err = label_get(s->repo, &p->id, &l);

		if (err < 0 || !label_has(&l, s->wish->bookmark))
			return err;
		/* where it is being moved, the newer point has it */
		s->found = p->id;
		s->n_found = 1;
		return 1;
	}
	if (!matches(s->wish, &p->id))
		return 0;
	if (s->n_found++ == 0) {
		s->found = p->id;
		s->damaged = !p->machine;
	}
	machine = p->machine ? strdup(p->machine)
			     : name_of(s->repo, s->wish, &p->id.machine);
	text = machine ? point_text(machine, &p->id, true) : NULL;
	if (!text)
		return fail(ENOMEM, "%s: %m", s->wish->text);
	names_add(&s->candidates, text);
	return 0;
}

static int not_found(const struct search *s)
{
	const struct wish *w = s->wish;
	char newest[32], oldest[32];

	if (s->n == 0)
		return fail(ENOENT, "%s: there is no point yet", w->text);
	time_text(s->newest.time, newest);
	time_text(s->oldest.time, oldest);
	if (w->kind == WHEN_LATEST)
		return fail(ENOENT,
			"%s: there %s only %" PRIu64
			" point%s, the oldest of %s",
			w->text, s->n == 1 ? "is" : "are", s->n,
			s->n == 1 ? "" : "s", oldest);
	if (w->kind == WHEN_BOOKMARK)
		return fail(ENOENT, "%s: no point has this bookmark", w->text);
	if (!w->machine[0])
		return fail(ENOENT,
			"%s: no point has this alias; of a machine say "
			"MACHINE@WHEN, as web@latest",
			w->text);
	return fail(ENOENT,
		"%s: no such point: the newest is of %s, the oldest of %s",
		w->text, newest, oldest);
}

struct newer {
	struct repo *repo;
	const struct point_id *than;
};

/* 1: the newest points were all read, up to the one that was looked for. */
static int check_newer(void *arg, const struct doc *d)
{
	const struct newer *n = arg;
	struct key key = point_key(n->than);
	struct point_id id;
	struct point p;
	int err;

	if (d->key.len == key.len && memcmp(d->key.b, key.b, key.len) == 0)
		return 1;
	err = point_key_parse(&d->key, &id);
	if (err == 0)
		err = point_get(n->repo, &id, &p);
	if (err == 0)
		point_fini(&p);
	return err == -ENOENT ? 0 : err;
}

/* Where a newer point is damaged, `latest` and what counts from it are not
 * what they were: whoever asks for them must not get an older one instead. */
static int check_latest(
	struct repo *r, const struct wish *w, const struct point_id *found)
{
	struct key prefix = key_of(found->machine.b, sizeof(found->machine.b));
	char when[32];
	int err = store_scan(r->store, COLL_POINTS, &prefix,
		SCAN_KEYS | SCAN_REVERSE, check_newer,
		&(struct newer){ r, found });

	if (err == -EBADMSG)
		return fail(EBADMSG,
			"%s: a newer point is damaged, so name the one of %s, "
			"if it will do, by its time",
			w->text, time_text(found->time, when));
	return err < 0 ? err : 0;
}

static int damaged_point(
	const struct search *s, const struct wish *w, struct point *ret)
{
	struct point p = { .id = s->found };

	p.machine = name_of(s->repo, w, &p.id.machine);
	if (!p.machine)
		return fail(ENOMEM, "%s: %m", w->text);
	*ret = p;
	return 0;
}

/* ANY: a damaged one will do, but not as the latest. */
static int find_point(struct repo *r, const struct wish *w, bool any,
	const struct uuid *machine, struct point *ret)
{
	struct search s = { .repo = r, .wish = w };
	int err = any && w->kind != WHEN_LATEST && w->kind != WHEN_BOOKMARK
			  ? point_list_all(r, machine, visit_point, &s)
			  : point_list(r, machine, true, visit_point, &s);

	/* of what is damaged was told; it matters if nothing else is meant */
	if (err < 0 && !(err == -EBADMSG && s.n_found))
		return err;
	if (s.n_found == 0)
		return not_found(&s);
	if (s.n_found > 1)
		return fail(EINVAL, "%s: may be any of %s", w->text,
			s.candidates.text);
	if (w->kind == WHEN_LATEST) {
		err = check_latest(r, w, &s.found);
		if (err < 0)
			return err;
	}
	err = s.damaged ? damaged_point(&s, w, ret)
			: point_get(r, &s.found, ret);
	if (err == -ENOENT)
		return fail(ENOENT, "%s: was removed just now", w->text);
	return err;
}

static int add_machine(void *arg, const char *name, const struct uuid *uuid)
{
	(void)uuid;
	names_add(arg, name);
	return 0;
}

static int find_machine(struct repo *r, const struct wish *w, struct uuid *ret)
{
	struct names known = { 0 };
	int err = machine_get(r, w->machine, ret);

	if (err != -ENOENT)
		return err;
	err = machine_list(r, add_machine, &known);
	if (err < 0)
		return err;
	if (known.n == 0)
		return fail(ENOENT, "%s: the repository is empty", w->text);
	return fail(ENOENT, "%s: there is no machine %s, but %s", w->text,
		w->machine, known.text);
}

static int find_disk(const struct wish *w, struct address *a)
{
	struct names known = { 0 };

	a->disk = w->disk[0] ? point_disk(&a->point, w->disk) : NULL;
	if (a->disk || !w->disk[0])
		return 0;
	for (size_t i = 0; i < a->point.disks.n; i++)
		names_add(&known, a->point.disks.v[i].name);
	return fail(ENOENT, "%s: there is no disk %s, but %s", w->text, w->disk,
		known.n ? known.text : "none at all");
}

/* What names no point, but a clone. */
static bool is_clone(struct repo *r, const char *text)
{
	struct uuid id = clone_named_id(text);
	char alias[ALIAS_MAX + 1];
	struct clone c;

	if (strchr(text, '@') || parse_alias(text, ALIAS_MIN, alias) ||
		!name_ok(text) || clone_get(r, &id, &c) < 0)
		return false;
	clone_fini(&c);
	return true;
}

static int resolve(
	struct repo *r, const char *text, bool any, struct address *ret)
{
	struct address a = { 0 };
	struct uuid machine;
	struct wish w;
	int err;

	if (is_clone(r, text))
		return fail(EINVAL,
			"%s: is a clone, not a point: hivefs commit makes one "
			"of it, hivefs discard drops it",
			text);
	err = parse(text, &w);
	if (err == 0 && w.machine[0])
		err = find_machine(r, &w, &machine);
	if (err == 0)
		err = find_point(
			r, &w, any, w.machine[0] ? &machine : NULL, &a.point);
	if (err < 0)
		return err;
	err = find_disk(&w, &a);
	if (err < 0) {
		address_fini(&a);
		return err;
	}
	*ret = a;
	return 0;
}

int address_resolve(struct repo *r, const char *text, struct address *ret)
{
	return resolve(r, text, false, ret);
}

int address_resolve_any(struct repo *r, const char *text, struct address *ret)
{
	return resolve(r, text, true, ret);
}

void address_fini(struct address *a)
{
	point_fini(&a->point);
	a->disk = NULL;
}

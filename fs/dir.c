/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/dir.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "repo/machine.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/log_many.h"
#include "src/text.h"

/* Names that do not depend on what is in the repository. */
struct fixed {
	enum node_kind dir, kind;
	const char *name;
};

static const struct fixed fixed[] = {
	{ NODE_ROOT, NODE_CONTROL, ".hivefs" },
	{ NODE_ROOT, NODE_CLONES, "clones" },
	{ NODE_CONTROL, NODE_STATUS, "status.json" },
	{ NODE_CONTROL, NODE_METRICS, "metrics" },
	{ NODE_POINT, NODE_POINT_JSON, "point.json" },
	{ NODE_POINT, NODE_RO, "ro" },
	{ NODE_CLONE, NODE_CLONE_JSON, "clone.json" },
};

static struct node_id fixed_id(const struct node *dir, enum node_kind kind)
{
	return (struct node_id){
		.kind = kind, .point = dir->id.point, .clone = dir->id.clone
	};
}

/* Of what belongs to the clone that DIR is of. */
static struct node_id clone_id(const struct node *dir, enum node_kind kind)
{
	struct node_id id = fixed_id(dir, kind);

	node_clone_id(dir, &id.clone);
	return id;
}

/* The disks that a directory has views of, borrowed from point or clone. */
struct shown {
	struct vec(struct {
		const char *name;
		uint64_t size;
		uint32_t sector_size;
	}) disks;
	struct clone clone;
	enum node_kind kind; /* of the views */
};

static void shown_fini(struct shown *s)
{
	vec_fini(&s->disks);
	clone_fini(&s->clone);
}

static int shown_add(
	struct shown *s, const char *name, uint64_t size, uint32_t sector_size)
{
	__typeof__(*s->disks.v) disk = { name, size, sector_size };

	return vec_add(&s->disks, disk) < 0 ? fail(ENOMEM, "directory: %m") : 0;
}

/* shown_fini() in any case. */
static int shown_in(struct tree *t, struct node *dir, struct shown *ret)
{
	const struct point *p;
	int r;

	*ret = (struct shown){ .kind = NODE_CLONE_VIEW };
	if (dir->id.kind == NODE_CLONE) {
		r = tree_clone(t, dir, &ret->clone);
		for (size_t i = 0; r == 0 && i < ret->clone.disks.n; i++)
			r = shown_add(ret, ret->clone.disks.v[i].name,
				ret->clone.disks.v[i].size,
				ret->clone.disks.v[i].sector_size);
		return r;
	}
	if (t->read_only || dir->id.kind == NODE_RO)
		ret->kind = NODE_VIEW;
	r = tree_point(t, dir, &p);
	for (size_t i = 0; r == 0 && i < p->disks.n; i++)
		r = shown_add(ret, p->disks.v[i].name, p->disks.v[i].size,
			p->disks.v[i].sector_size);
	return r;
}

static struct node_id view_id(
	const struct node *dir, const struct shown *s, size_t disk, size_t row)
{
	struct node_id id = s->kind == NODE_VIEW ? fixed_id(dir, s->kind)
						 : clone_id(dir, s->kind);

	id.disk = (uint32_t)disk;
	id.format = format_at(row)->same_as ?: format_at(row);
	return id;
}

static int name_point(
	struct tree *t, const struct point_id *id, char name[POINT_NAME])
{
	char time[32], alias[ALIAS_LEN + 1];
	bool first;
	int r = point_is_first(t->repo, id, &first);

	if (r < 0)
		return r;
	if (first)
		snprintf(name, POINT_NAME, "%s", time_name(id->time, time));
	else
		snprintf(name, POINT_NAME, "%s-%s", time_name(id->time, time),
			point_alias(id, alias));
	return 0;
}

struct second {
	struct tree *tree;
	const char *name; /* that is wanted */
	struct point_id id;
};

static int is_point_wanted(void *arg, const struct doc *doc)
{
	struct second *s = arg;
	char name[POINT_NAME];
	struct point_id id;
	struct point p;
	int r = point_key_parse(&doc->key, &id);

	if (r == 0)
		r = point_get(s->tree->repo, &id, &p);
	if (r == -ENOENT || r == -EBADMSG)
		return 0; /* removed, or damaged and logged: not listed */
	if (r < 0)
		return r;
	point_fini(&p);
	r = name_point(s->tree, &id, name);
	if (r < 0 || strcmp(s->name, name) != 0)
		return r;
	s->id = id;
	return 1;
}

/* One second of a machine is looked at, however many points it has. */
static int find_point(struct tree *t, const struct uuid *machine,
	const char *name, struct node_id *ret)
{
	struct second s = { .tree = t, .name = name };
	struct point_id from = { .machine = *machine };
	const char *behind;
	struct key prefix;
	int r;

	if (time_parse(name, &from.time, &behind) < 0 || from.time < 0)
		return -ENOENT;
	prefix = point_key(&from);
	prefix.len = offsetof(struct point_id, writer);
	r = store_scan(t->repo->store, COLL_POINTS, &prefix, SCAN_KEYS,
		is_point_wanted, &s);
	if (r < 0)
		return r;
	if (r == 0)
		return -ENOENT;
	*ret = (struct node_id){ .kind = NODE_POINT, .point = s.id };
	return 0;
}

static int note_newest(void *arg, const struct point *p)
{
	static struct log_many slid = { .what = "what latest is" };
	struct newest *newest = arg;
	char when[32];

	if (!p->machine) {
		newest->slid = true;
		return 0;
	}
	newest->id = p->id;
	if (newest->slid)
		(void)fail_many(&slid, EBADMSG,
			"%s: latest is the point of %s, since a newer one is "
			"damaged",
			p->machine, time_text(p->id.time, when));
	return 1;
}

int dir_newest(struct tree *t, const struct uuid *machine, struct newest *ret,
	char ret_name[POINT_NAME])
{
	struct newest newest = { 0 };
	int r = point_list_all(t->repo, machine, note_newest, &newest);

	if (r != 1)
		return r < 0 ? r : -ENOENT;
	r = ret_name ? name_point(t, &newest.id, ret_name) : 0;
	if (r == 0)
		*ret = newest;
	return r;
}

/*
 * The disk and the row that NAME is made of. No name means two: no disk is
 * called "…-flat", and an ending has only one dot.
 */
static bool split(
	const struct shown *s, const char *name, size_t *ret_disk, size_t *ret)
{
	for (size_t d = 0; d < s->disks.n; d++) {
		const char *disk = s->disks.v[d].name;
		size_t len = strlen(disk);

		for (size_t i = 0; format_at(i); i++) {
			if (strncmp(disk, name, len) != 0 ||
				strcmp(format_at(i)->ending, name + len) != 0)
				continue;
			*ret_disk = d;
			*ret = i;
			return true;
		}
	}
	return false;
}

static bool is_shown(
	const struct tree *t, const struct shown *s, size_t disk, size_t row)
{
	return tree_shows(
		t, row, s->disks.v[disk].size, s->disks.v[disk].sector_size);
}

static int find_view(
	struct tree *t, struct node *n, const char *name, struct node_id *ret)
{
	size_t disk, row;
	struct shown s;
	int r = shown_in(t, n, &s);

	if (r == 0 &&
		!(split(&s, name, &disk, &row) && is_shown(t, &s, disk, row)))
		r = -ENOENT;
	if (r == 0) {
		*ret = view_id(n, &s, disk, row);
		r = tree_is_hidden(t, ret) ? -ENOENT : 0;
	}
	shown_fini(&s);
	return r;
}

int dir_find_hidden(
	struct tree *t, struct node *n, const char *name, struct node_id *ret)
{
	*ret = (struct node_id){ .kind = NODE_ROOT };
	if (n->id.kind != NODE_POINT && n->id.kind != NODE_CLONE)
		return -ENOENT;
	return find_view(t, n, name, ret) == -ENOENT &&
			       ret->kind == NODE_CLONE_VIEW
		       ? 0
		       : -ENOENT;
}

/* Does a clone exist? */
static int look_up(struct tree *t, const struct uuid *id)
{
	struct clone c;
	int r = clone_get(t->repo, id, &c);

	if (r == 0)
		clone_fini(&c);
	return r;
}

static int find_clone(struct tree *t, const char *name, struct node_id *ret)
{
	struct node_id id = { .kind = NODE_CLONE };
	int r;

	if (!name_ok(name))
		return -ENOENT;
	id.clone = clone_named_id(name);
	r = look_up(t, &id.clone);
	if (r == 0)
		*ret = id;
	return r;
}

static int find_in_point(
	struct tree *t, struct node *n, const char *name, struct node_id *ret)
{
	struct node_id id;
	int r;

	if (t->read_only || strcmp(name, "clone.json") != 0)
		return find_view(t, n, name, ret);
	id = clone_id(n, NODE_CLONE_JSON);
	r = look_up(t, &id.clone);
	if (r == 0)
		*ret = id;
	return r;
}

static int find_ours(
	struct tree *t, struct node *n, const char *name, struct node_id *ret)
{
	char newest_name[POINT_NAME];
	struct newest newest;
	struct uuid uuid;
	int r;

	for (size_t i = 0; i < N_ELEMS(fixed); i++) {
		if (fixed[i].dir == n->id.kind &&
			strcmp(fixed[i].name, name) == 0) {
			*ret = fixed_id(n, fixed[i].kind);
			return 0;
		}
	}
	if (n->id.kind == NODE_ROOT) {
		r = machine_name_ok(name) ? machine_get(t->repo, name, &uuid)
					  : -ENOENT;
		if (r == 0)
			*ret = (struct node_id){ .kind = NODE_MACHINE,
				.point.machine = uuid };
		return r;
	}
	if (n->id.kind == NODE_MACHINE && strcmp(name, "latest") == 0) {
		r = dir_newest(t, &n->id.point.machine, &newest, newest_name);
		if (r == 0)
			*ret = fixed_id(n, NODE_LATEST);
		return r;
	}
	if (n->id.kind == NODE_MACHINE)
		return find_point(t, &n->id.point.machine, name, ret);
	if (n->id.kind == NODE_CLONES)
		return find_clone(t, name, ret);
	if (n->id.kind == NODE_POINT)
		return find_in_point(t, n, name, ret);
	if (n->id.kind == NODE_RO || n->id.kind == NODE_CLONE)
		return find_view(t, n, name, ret);
	return -ENOENT;
}

static struct node_id foreign_id(
	const struct foreign_dir *dir, struct foreign *f)
{
	return (struct node_id){ .kind = foreign_is_dir(f) ? NODE_FOREIGN_DIR
							   : NODE_FOREIGN,
		.clone = dir->clone,
		.foreign = f };
}

int dir_find(
	struct tree *t, struct node *n, const char *name, struct node_id *ret)
{
	struct foreign_dir dir;
	struct foreign *f;
	int r = find_ours(t, n, name, ret);

	if (r != -ENOENT || !tree_foreign_dir(t, n, &dir))
		return r;
	r = foreign_find(t->foreigns, &dir, name, &f);
	if (r == 0)
		*ret = foreign_id(&dir, f);
	return r;
}

/* Names that may come to be ours in a directory of views. */
static const char *const reserved[] = { "ro", "files", "point.json",
	"clone.json" };

int dir_is_free(struct tree *t, struct node *n, const char *name)
{
	struct foreign_dir dir;
	size_t disk, row;
	struct shown s;
	int r;

	if (!tree_foreign_dir(t, n, &dir))
		return -EPERM;
	if (dir.in)
		return 0;
	for (size_t i = 0; i < N_ELEMS(reserved); i++)
		if (strcmp(name, reserved[i]) == 0)
			return -EPERM;
	r = shown_in(t, n, &s);
	if (r == 0 && split(&s, name, &disk, &row))
		r = -EPERM;
	shown_fini(&s);
	return r;
}

/* A reference that ID has is the directory's then. */
static int add(struct dir *d, const struct node_id *id, const char *name)
{
	struct dir_entry e = { .id = *id, .name = strdup(name) };

	if (e.name && vec_add(d, e) == 0)
		return 0;
	free(e.name);
	return fail(ENOMEM, "directory: %m");
}

static int add_machine(void *arg, const char *name, const struct uuid *uuid)
{
	struct node_id id = { .kind = NODE_MACHINE, .point.machine = *uuid };

	return add(arg, &id, name);
}

struct points {
	struct tree *tree;
	struct dir *dir;
};

static int add_point(void *arg, const struct point *p)
{
	struct points *points = arg;
	struct node_id id = { .kind = NODE_POINT, .point = p->id };
	char name[POINT_NAME];
	int r = name_point(points->tree, &p->id, name);

	return r < 0 ? r : add(points->dir, &id, name);
}

static int list_points(struct tree *t, struct node *n, struct dir *ret)
{
	struct points points = { t, ret };
	struct node_id latest = fixed_id(n, NODE_LATEST);
	int r = point_list(
		t->repo, &n->id.point.machine, false, add_point, &points);

	return ret->n && r != -ENOMEM ? add(ret, &latest, "latest") ?: r : r;
}

static int list_views(struct tree *t, struct node *n, struct dir *ret)
{
	const struct format *f;
	struct shown s;
	int r = shown_in(t, n, &s);

	for (size_t d = 0; r == 0 && d < s.disks.n; d++) {
		for (size_t i = 0; r == 0 && (f = format_at(i)); i++) {
			struct node_id id = view_id(n, &s, d, i);
			char name[NAME_MAX + 1];

			if (!is_shown(t, &s, d, i) || tree_is_hidden(t, &id))
				continue;
			snprintf(name, sizeof(name), "%s%s", s.disks.v[d].name,
				f->ending);
			r = add(ret, &id, name);
		}
	}
	shown_fini(&s);
	return r;
}

static int add_clone(void *arg, const struct clone *c)
{
	struct node_id id = { .kind = NODE_CLONE, .clone = c->id };

	return c->name ? add(arg, &id, c->name) : 0;
}

static int list_own_clone(struct tree *t, struct node *n, struct dir *ret)
{
	struct node_id id = clone_id(n, NODE_CLONE_JSON);
	int r = t->read_only ? -ENOENT : look_up(t, &id.clone);

	if (r == 0)
		r = add(ret, &id, "clone.json");
	return r == -ENOENT ? 0 : r;
}

struct foreigners {
	const struct foreign_dir *dir;
	struct dir *list;
};

static int add_foreign(void *arg, const char *name, struct foreign *f)
{
	const struct foreigners *into = arg;
	struct node_id id = foreign_id(into->dir, f);

	return add(into->list, &id, name);
}

static int list_foreign(struct tree *t, struct node *n, struct dir *ret)
{
	struct foreign_dir dir;
	struct foreigners into = { &dir, ret };

	return tree_foreign_dir(t, n, &dir)
		       ? foreign_list(t->foreigns, &dir, add_foreign, &into)
		       : 0;
}

int dir_list(struct tree *t, struct node *n, struct dir *ret)
{
	enum node_kind kind = n->id.kind;
	int r = 0;

	for (size_t i = 0; r == 0 && i < N_ELEMS(fixed); i++) {
		struct node_id id = fixed_id(n, fixed[i].kind);

		if (fixed[i].dir == kind)
			r = add(ret, &id, fixed[i].name);
	}
	if (r == 0 && kind == NODE_ROOT)
		r = machine_list(t->repo, add_machine, ret);
	if (r == 0 && kind == NODE_MACHINE)
		r = list_points(t, n, ret);
	if (r == 0 && kind == NODE_CLONES)
		r = clone_list(t->repo, add_clone, ret);
	if (r == 0 && kind == NODE_POINT)
		r = list_own_clone(t, n, ret);
	if (r == 0 &&
		(kind == NODE_POINT || kind == NODE_RO || kind == NODE_CLONE))
		r = list_views(t, n, ret);
	if (r == 0)
		r = list_foreign(t, n, ret);
	return r;
}

void dir_fini(struct dir *d)
{
	for (size_t i = 0; i < d->n; i++) {
		node_id_fini(&d->v[i].id);
		free(d->v[i].name);
	}
	vec_fini(d);
}

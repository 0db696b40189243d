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
#include "src/text.h"

/* Names that do not depend on what is in the repository. */
struct fixed {
	enum node_kind dir, kind;
	const char *name;
};

static const struct fixed fixed[] = {
	{ NODE_ROOT, NODE_CONTROL, ".hivefs" },
	{ NODE_CONTROL, NODE_STATUS, "status.json" },
	{ NODE_CONTROL, NODE_METRICS, "metrics" },
	{ NODE_POINT, NODE_POINT_JSON, "point.json" },
	{ NODE_POINT, NODE_RO, "ro" },
};

static struct node_id fixed_id(const struct node *dir, enum node_kind kind)
{
	return (struct node_id){ .kind = kind, .point = dir->id.point };
}

/* Of points that share a second all but the first have their alias too. */
static void name_point(
	const struct point_id *id, bool first, char name[POINT_NAME])
{
	char time[32], alias[ALIAS_LEN + 1];

	if (first)
		snprintf(name, POINT_NAME, "%s", time_name(id->time, time));
	else
		snprintf(name, POINT_NAME, "%s-%s", time_name(id->time, time),
			point_alias(id, alias));
}

struct second {
	struct tree *tree;
	const char *alias; /* that is wanted; "": the first point */
	unsigned n;        /* points seen */
	struct point_id id;
};

static int is_point_wanted(void *arg, const struct doc *doc)
{
	struct second *s = arg;
	char alias[ALIAS_LEN + 1];
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
	if (s->n++ == 0 ? *s->alias != 0
			: strcmp(s->alias, point_alias(&id, alias)) != 0)
		return 0;
	s->id = id;
	return 1;
}

/* One second of a machine is looked at, however many points it has. */
static int find_point(struct tree *t, const struct uuid *machine,
	const char *name, struct node_id *ret)
{
	struct second s = { .tree = t };
	struct point_id from = { .machine = *machine };
	struct key prefix;
	char canonical[32];
	int r;

	if (time_parse(name, &from.time, &s.alias) < 0 || from.time < 0)
		return -ENOENT;
	/* only in this form, and with nothing behind it but an alias */
	time_name(from.time, canonical);
	if (strncmp(name, canonical, strlen(canonical)) != 0 ||
		(*s.alias && (*s.alias != '-' || !s.alias[1])))
		return -ENOENT;
	if (*s.alias)
		s.alias++;
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

struct newest {
	unsigned n;
	bool shared; /* its second, with an older one */
	struct point_id id;
};

static int note_newest(void *arg, const struct point *p)
{
	struct newest *newest = arg;

	if (newest->n++ == 0) {
		newest->id = p->id;
		return 0;
	}
	newest->shared = newest->id.time == p->id.time;
	return 1;
}

int dir_newest(struct tree *t, const struct uuid *machine, struct point_id *ret,
	char ret_name[POINT_NAME])
{
	struct newest newest = { 0 };
	int r = point_list(t->repo, machine, true, note_newest, &newest);

	if (newest.n == 0)
		return r < 0 ? r : -ENOENT;
	*ret = newest.id;
	if (ret_name)
		name_point(&newest.id, !newest.shared, ret_name);
	return 0;
}

/* DISK.EXTENSION: an extension is a format's whole, so no name means two. */
static int find_view(
	struct tree *t, struct node *n, const char *name, struct node_id *ret)
{
	const char *dot = strrchr(name, '.');
	const struct format *f;
	const struct point *p;
	struct layout l;
	int r;

	if (!dot)
		return -ENOENT;
	r = tree_point(t, n, &p);
	if (r < 0)
		return r;
	for (uint32_t d = 0; d < p->disks.n; d++) {
		const struct point_disk *disk = &p->disks.v[d];
		size_t len = (size_t)(dot - name);

		if (strlen(disk->name) != len ||
			memcmp(disk->name, name, len) != 0)
			continue;
		for (size_t i = 0; (f = format_at(i)); i++) {
			if (strcmp(f->extension, dot + 1) != 0 ||
				f->layout(disk->size, &l) < 0)
				continue;
			*ret = fixed_id(n, NODE_VIEW);
			ret->disk = d;
			ret->format = f;
			return 0;
		}
	}
	return -ENOENT;
}

int dir_find(
	struct tree *t, struct node *n, const char *name, struct node_id *ret)
{
	char newest_name[POINT_NAME];
	struct point_id newest;
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
	if (n->id.kind == NODE_POINT || n->id.kind == NODE_RO)
		return find_view(t, n, name, ret);
	return -ENOENT;
}

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
	struct dir *dir;
	int64_t last_time;
};

static int add_point(void *arg, const struct point *p)
{
	struct points *points = arg;
	struct node_id id = { .kind = NODE_POINT, .point = p->id };
	char name[POINT_NAME];

	name_point(&p->id, p->id.time != points->last_time, name);
	points->last_time = p->id.time;
	return add(points->dir, &id, name);
}

static int list_points(struct tree *t, struct node *n, struct dir *ret)
{
	struct points points = { .dir = ret, .last_time = -1 };
	struct node_id latest = fixed_id(n, NODE_LATEST);
	int r = point_list(
		t->repo, &n->id.point.machine, false, add_point, &points);

	return ret->n && r != -ENOMEM ? add(ret, &latest, "latest") ?: r : r;
}

static int list_views(struct tree *t, struct node *n, struct dir *ret)
{
	const struct format *f;
	const struct point *p;
	int r = tree_point(t, n, &p);

	for (uint32_t d = 0; r == 0 && d < p->disks.n; d++) {
		for (size_t i = 0; r == 0 && (f = format_at(i)); i++) {
			struct node_id id = fixed_id(n, NODE_VIEW);
			char name[NAME_MAX + 1];
			struct layout l;

			if (f->layout(p->disks.v[d].size, &l) < 0)
				continue;
			id.disk = d;
			id.format = f;
			snprintf(name, sizeof(name), "%s.%s",
				p->disks.v[d].name, f->extension);
			r = add(ret, &id, name);
		}
	}
	return r;
}

int dir_list(struct tree *t, struct node *n, struct dir *ret)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < N_ELEMS(fixed); i++) {
		struct node_id id = fixed_id(n, fixed[i].kind);

		if (fixed[i].dir == n->id.kind)
			r = add(ret, &id, fixed[i].name);
	}
	if (r == 0 && n->id.kind == NODE_ROOT)
		r = machine_list(t->repo, add_machine, ret);
	if (r == 0 && n->id.kind == NODE_MACHINE)
		r = list_points(t, n, ret);
	if (r == 0 && (n->id.kind == NODE_POINT || n->id.kind == NODE_RO))
		r = list_views(t, n, ret);
	return r;
}

void dir_fini(struct dir *d)
{
	for (size_t i = 0; i < d->n; i++)
		free(d->v[i].name);
	vec_fini(d);
}

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/clone_json.h"
#include "fs/fs.h"
#include "fs/json.h"
#include "repo/address.h"
#include "src/log.h"

#define COMMIT "user.hivefs.commit"
#define DISCARD "user.hivefs.discard"
#define STATUS "user.hivefs.status"

struct committed {
	struct committed *next;
	struct uuid id;
	char *json;
};

void commits_init(struct commits *all)
{
	all->first = NULL;
	pthread_mutex_init(&all->lock, NULL);
}

void commits_fini(struct commits *all)
{
	while (all->first) {
		struct committed *c = all->first;

		all->first = c->next;
		free(c->json);
		free(c);
	}
	pthread_mutex_destroy(&all->lock);
}

/* Lock held. */
static struct committed *find(struct commits *all, const struct uuid *id)
{
	struct committed *c = all->first;

	while (c && memcmp(&c->id, id, sizeof(*id)) != 0)
		c = c->next;
	return c;
}

/* Takes JSON. */
static int remember(struct commits *all, const struct uuid *id, char *json)
{
	struct committed *c;

	pthread_mutex_lock(&all->lock);
	c = find(all, id);
	if (!c) {
		c = calloc(1, sizeof(*c));
		if (c) {
			c->id = *id;
			c->next = all->first;
			all->first = c;
		}
	}
	if (c) {
		free(c->json);
		c->json = take(json);
	}
	pthread_mutex_unlock(&all->lock);
	free(json);
	return c ? 0 : fail(ENOMEM, "commit: %m");
}

static int recall(struct commits *all, const struct uuid *id, char **ret)
{
	struct committed *c;
	char *json;

	pthread_mutex_lock(&all->lock);
	c = find(all, id);
	json = c ? strdup(c->json) : NULL;
	pthread_mutex_unlock(&all->lock);
	if (!c)
		return -ENODATA;
	if (!json)
		return fail(ENOMEM, "commit: %m");
	*ret = json;
	return 0;
}

static void add_error(json_t *object, int err)
{
	scoped(freep) char *text = NULL;

	errno = -err;
	if (asprintf(&text, "%m") < 0)
		text = NULL;
	json_add_text(object, "error", text ? text : "");
	json_add_count(object, "errno", (uint64_t)-err);
}

static void add_point(struct fs *fs, json_t *object, const struct point *p)
{
	scoped(freep) char *address = NULL;
	char alias[ALIAS_LEN + 1];

	/* it is there, whatever is wrong with others of its second */
	if (address_full(fs->repo, p, &address) < 0)
		address = address_text(p);
	json_add_text(object, "address", address ? address : "");
	json_add_text(object, "alias", point_alias(&p->id, alias));
	json_add_text(object, "machine", p->machine);
	json_add_time(object, "time", p->id.time);
	json_add_time(object, "end", p->end);
	json_add_count(object, "duration_ms", p->duration_ms);
}

static int note_commit(struct fs *fs, const struct uuid *id, const char *clone,
	const struct point *p, int err)
{
	json_t *object = json_object();
	char *json;
	int r;

	json_add_text(object, "type", "commit");
	json_add_text(object, "clone", clone);
	if (err < 0)
		add_error(object, err);
	else
		add_point(fs, object, p);
	r = json_finish(object, &json);
	return r < 0 ? r : remember(&fs->commits, id, json);
}

static int commit(struct fs *fs, const struct clone *c)
{
	scoped(freep) char *text = clone_text(c);
	struct branch *b;
	struct point p;
	int noted, r = branch_get(&fs->branches, &c->id, c->name, &b);

	if (r < 0)
		return r;
	r = branch_take(b, NULL);
	if (r == 0)
		r = open_clone_commit(branch_open(b), &p);
	noted = note_commit(fs, &c->id, text ? text : "", &p, r);
	if (r == 0)
		point_fini(&p);
	branch_put(b);
	return r < 0 ? r : noted;
}

static int discard(struct fs *fs, const struct clone *c)
{
	struct branch *b;
	int r = branch_get(&fs->branches, &c->id, c->name, &b);

	if (r < 0)
		return r;
	r = branch_discard(b);
	if (r == 0)
		tree_show_all(&fs->tree, &c->id);
	branch_put(b);
	return r;
}

int control_set(struct fs *fs, struct node *n, const char *name)
{
	struct clone c;
	int r;

	if (fs->tree.read_only)
		return -EROFS;
	if ((strcmp(name, COMMIT) != 0 && strcmp(name, DISCARD) != 0) ||
		!node_is_controlled(n))
		return -EOPNOTSUPP;
	r = tree_clone(&fs->tree, n, &c);
	if (r < 0)
		return r;
	r = strcmp(name, COMMIT) == 0 ? commit(fs, &c) : discard(fs, &c);
	clone_fini(&c);
	return r;
}

static void add_owner(json_t *object, struct fs *fs, const struct clone *c)
{
	struct stream_owner owner;
	bool owned = false;

	for (size_t i = 0; i < c->disks.n && !owned; i++)
		owned = stream_owner(fs->repo->store, &c->disks.v[i].stream,
				&owner) == 0;
	if (!owned)
		return;
	json_add_text(object, "host", owner.host);
	json_add_count(object, "pid", (uint64_t)owner.pid);
	json_add_text(object, "place", owner.place);
}

static int status(struct fs *fs, const struct clone *c, char **ret)
{
	scoped(freep) char *text = clone_text(c);
	json_t *object = json_object();
	struct branch_info info = { .handles = 0 };
	bool ours = branches_find(&fs->branches, &c->id, &info);

	json_add_text(object, "type", "clone_status");
	json_add_text(object, "clone", text ? text : "");
	json_object_set_new(object, "open", json_boolean(ours));
	if (ours)
		clone_json_info(object, &info);
	else
		json_add_count(object, "handles", 0);
	add_owner(object, fs, c);
	return json_finish(object, ret);
}

int control_get(struct fs *fs, struct node *n, const char *name, char **ret)
{
	struct clone c;
	int r;

	/* the kernel asks for others, too, of every file: soon answered */
	if ((strcmp(name, COMMIT) != 0 && strcmp(name, STATUS) != 0) ||
		!node_is_controlled(n))
		return -ENODATA;
	r = tree_clone(&fs->tree, n, &c);
	if (r < 0)
		return r == -ENOENT ? -ENODATA : r;
	r = strcmp(name, COMMIT) == 0 ? recall(&fs->commits, &c.id, ret)
				      : status(fs, &c, ret);
	clone_fini(&c);
	return r;
}

int control_list(struct fs *fs, struct node *n, char **ret, size_t *ret_len)
{
	static const char names[] = STATUS "\0" COMMIT;
	scoped(freep) char *json = NULL;
	size_t len = sizeof(STATUS);
	struct clone c;
	char *list;
	int r = node_is_controlled(n) ? tree_clone(&fs->tree, n, &c) : -ENOENT;

	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT) {
		len = 0;
	} else {
		if (recall(&fs->commits, &c.id, &json) == 0)
			len = sizeof(names);
		clone_fini(&c);
	}
	list = malloc(sizeof(names));
	if (!list)
		return fail(ENOMEM, "attributes: %m");
	memcpy(list, names, len);
	*ret = list;
	*ret_len = len;
	return 0;
}

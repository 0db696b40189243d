/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "tools/remote.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "repo/address.h"
#include "src/log.h"
#include "src/text.h"
#include "tools/clone_arg.h"
#include "tools/json.h"

#define COMMIT "user.hivefs.commit"
#define RESULT_MAX 65536

/* Is DIR that of C in a mount? */
static bool is_of(const char *dir, const struct clone *c)
{
	scoped(freep) char *path = NULL;

	if (asprintf(&path, "%s/clone.json", dir) < 0) {
		path = NULL;
		return false;
	}
	return json_names(path, "id", &c->id);
}

/* The clone's directory in the mount at PLACE; owned. NULL: not there. */
static char *find_directory(const char *place, const struct clone *c)
{
	char alias[ALIAS_LEN + 1], time[32];
	char *dir;
	int n;

	if (place[0] != '/')
		return NULL;
	/* a point that shares its second may or may not have its alias in its
	 * name */
	for (int with_alias = 1; with_alias >= 0; with_alias--) {
		if (c->name)
			n = asprintf(&dir, "%s/clones/%s", place, c->name);
		else
			n = asprintf(&dir, "%s/%s/%s%s%s", place, c->machine,
				time_name(c->base.time, time),
				with_alias ? "-" : "",
				with_alias ? point_alias(&c->base, alias) : "");
		if (n < 0)
			return NULL;
		if (is_of(dir, c))
			return dir;
		free(dir);
	}
	return NULL;
}

static json_t *result_of(const char *dir)
{
	char text[RESULT_MAX];
	ssize_t n = getxattr(dir, COMMIT, text, sizeof(text));

	return n < 0 ? NULL : json_loadb(text, (size_t)n, 0, NULL);
}

static int read_point(struct repo *r, const char *dir, struct point *ret)
{
	json_t *json = result_of(dir);
	const char *address =
		json_string_value(json_object_get(json, "address"));
	struct address a;
	int err = address ? address_resolve(r, address, &a)
			  : fail(EIO, "%s: committed, but does not say as what",
				    dir);

	if (err == 0)
		*ret = a.point;
	json_decref(json);
	return err;
}

int remote_commit(struct repo *r, const struct clone *c,
	const struct stream_owner *o, struct point *ret)
{
	scoped(freep) char *text = clone_arg_text(r, c);
	scoped(freep) char *dir =
		clone_arg_is_here(o) ? find_directory(o->place, c) : NULL;

	if (!dir)
		return clone_arg_busy(text, o);
	log_debug("tools", "commit by way of %s", dir);
	if (setxattr(dir, COMMIT, "1", 1, 0) != 0)
		return fail(errno, "%s: commit by way of %s: %m", text, dir);
	return read_point(r, dir, ret);
}

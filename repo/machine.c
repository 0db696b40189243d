/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/machine.h"

#include <bson/bson.h>
#include <errno.h>
#include <string.h>

#include "repo/decode.h"
#include "src/log.h"
#include "src/text.h"

bool machine_name_ok(const char *name)
{
	return name_ok(name) && strcmp(name, "clones") != 0 &&
	       strcmp(name, "latest") != 0;
}

bool disk_name_ok(const char *name)
{
	size_t n = strlen(name);

	return name_ok(name) && strcmp(name, "ro") != 0 &&
	       strcmp(name, "files") != 0 && strcmp(name, "point") != 0 &&
	       !(n >= 5 && strcmp(name + n - 5, "-flat") == 0);
}

static int parse(const char *name, const struct doc *d, struct uuid *ret)
{
	struct decode in;

	decode_begin(&in, d);
	decode_bytes(&in, "uuid", ret->b, sizeof(ret->b));
	return decode_end(&in, name);
}

int machine_get(struct repo *r, const char *name, struct uuid *ret)
{
	struct key key = key_of(name, strnlen(name, KEY_MAX));
	struct doc d;
	int err = store_get(r->store, COLL_MACHINES, &key, &d);

	if (err < 0)
		return err;
	err = parse(name, &d, ret);
	doc_fini(&d);
	return err;
}

/* -EEXIST, quietly, if the name is taken. */
static int insert(struct repo *r, const char *name, const struct uuid *uuid)
{
	bson_t b = BSON_INITIALIZER;
	struct doc d;
	int err;

	BSON_APPEND_BINARY(
		&b, "uuid", BSON_SUBTYPE_BINARY, uuid->b, sizeof(uuid->b));
	d = (struct doc){ .coll = COLL_MACHINES,
		.key = key_of(name, strlen(name)),
		.version = 1,
		.body = bson_get_data(&b),
		.len = b.len };
	err = store_insert(r->store, &d);
	bson_destroy(&b);
	return err;
}

int machine_ensure(struct repo *r, const char *name, struct uuid *ret)
{
	struct uuid uuid = uuid_random();
	int err = machine_get(r, name, ret);

	if (err != -ENOENT)
		return err;
	err = insert(r, name, &uuid);
	/* another first backup was faster: its uuid is the machine's */
	if (err == -EEXIST)
		return machine_get(r, name, ret);
	if (err == 0)
		*ret = uuid;
	return err;
}

int machine_adopt(struct repo *r, const char *name, const struct uuid *uuid)
{
	struct uuid there;
	int err = machine_get(r, name, &there);

	if (err == -ENOENT) {
		err = insert(r, name, uuid);
		there = *uuid;
	}
	/* somebody else's, or that of another copy */
	if (err == -EEXIST)
		err = machine_get(r, name, &there);
	if (err == 0 && memcmp(&there, uuid, sizeof(there)) != 0)
		err = -EEXIST;
	return err;
}

struct listing {
	machine_visit visit;
	void *arg;
};

static int visit_doc(void *arg, const struct doc *d)
{
	struct listing *l = arg;
	char name[KEY_MAX + 1] = { 0 };
	struct uuid uuid;
	int err;

	memcpy(name, d->key.b, d->key.len);
	/* names come to be paths and lines on a terminal */
	if (strlen(name) != d->key.len || !machine_name_ok(name))
		return fail(EBADMSG, "machines: a damaged name");
	err = parse(name, d, &uuid);
	return err < 0 ? err : l->visit(l->arg, name, &uuid);
}

int machine_list(struct repo *r, machine_visit visit, void *arg)
{
	struct listing l = { .visit = visit, .arg = arg };

	return store_scan(r->store, COLL_MACHINES, NULL, 0, visit_doc, &l);
}

struct naming {
	const struct uuid *uuid;
	char *name;
};

static int note_name(void *arg, const char *name, const struct uuid *uuid)
{
	struct naming *n = arg;

	if (memcmp(uuid, n->uuid, sizeof(*uuid)) != 0)
		return 0;
	n->name = strdup(name);
	return 1;
}

char *machine_name(struct repo *r, const struct uuid *uuid)
{
	struct naming n = { .uuid = uuid };
	char text[UUID_TEXT];

	return machine_list(r, note_name, &n) == 1
		       ? n.name
		       : strdup(uuid_text(uuid, text));
}

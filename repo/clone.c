/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/clone.h"

#include <bson/bson.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "repo/chunk.h"
#include "repo/decode.h"
#include "repo/machine.h"
#include "repo/stream.h"
#include "src/log.h"
#include "src/text.h"

void clone_fini(struct clone *c)
{
	for (size_t i = 0; i < c->disks.n; i++)
		free(c->disks.v[i].name);
	vec_fini(&c->disks);
	vec_fini(&c->retired);
	free(c->name);
	free(c->machine);
	free(c->process);
	free(c->host);
	memset(c, 0, sizeof(*c));
}

static struct uuid id_of(const char *kind, const void *data, size_t len)
{
	uint8_t b[32 + KEY_MAX];
	size_t n = strlen(kind);
	struct digest d;
	struct uuid id;

	memcpy(b, kind, n);
	memcpy(b + n, data, len);
	d = digest_of(b, n + len);
	memcpy(id.b, d.b, sizeof(id.b));
	return id;
}

struct uuid clone_own_id(const struct point_id *point)
{
	struct key key = point_key(point);

	return id_of("clone of ", key.b, key.len);
}

struct uuid clone_named_id(const char *name)
{
	return id_of("clone named ", name, strnlen(name, KEY_MAX));
}

char *clone_text(const struct clone *c)
{
	char when[32], *text;

	if (c->name)
		return strdup(c->name);
	if (asprintf(&text, "%s@%s", c->machine,
		    time_text(c->base.time, when)) < 0)
		return NULL;
	return text;
}

static void append_disk(
	bson_t *b, const char *index, const struct clone_disk *d)
{
	bson_t disk;

	BSON_APPEND_DOCUMENT_BEGIN(b, index, &disk);
	BSON_APPEND_UTF8(&disk, "name", d->name);
	BSON_APPEND_INT64(&disk, "size", (int64_t)d->size);
	BSON_APPEND_INT32(&disk, "sector_size", (int32_t)d->sector_size);
	BSON_APPEND_BINARY(&disk, "root", BSON_SUBTYPE_BINARY, d->root.b,
		sizeof(d->root.b));
	BSON_APPEND_INT64(&disk, "data", (int64_t)d->data);
	BSON_APPEND_INT64(&disk, "lost", (int64_t)d->lost);
	BSON_APPEND_BINARY(&disk, "stream", BSON_SUBTYPE_BINARY, d->stream.b,
		sizeof(d->stream.b));
	BSON_APPEND_INT64(&disk, "from", (int64_t)d->from);
	bson_append_document_end(b, &disk);
}

static void append_retired(
	bson_t *b, const char *index, const struct retired_root *r)
{
	bson_t root;

	BSON_APPEND_DOCUMENT_BEGIN(b, index, &root);
	BSON_APPEND_BINARY(&root, "root", BSON_SUBTYPE_BINARY, r->root.b,
		sizeof(r->root.b));
	BSON_APPEND_INT64(&root, "size", (int64_t)r->size);
	bson_append_document_end(b, &root);
}

static void append_temporary(bson_t *b, const struct clone *c)
{
	bson_t temporary;

	if (!c->process)
		return;
	BSON_APPEND_DOCUMENT_BEGIN(b, "temporary", &temporary);
	BSON_APPEND_UTF8(&temporary, "host", c->host);
	BSON_APPEND_UTF8(&temporary, "process", c->process);
	bson_append_document_end(b, &temporary);
}

static void encode(const struct clone *c, bson_t *b)
{
	struct key base = point_key(&c->base);
	const char *index;
	char buf[16];
	bson_t array;

	if (c->name)
		BSON_APPEND_UTF8(b, "name", c->name);
	BSON_APPEND_BINARY(b, "base", BSON_SUBTYPE_BINARY, base.b, base.len);
	BSON_APPEND_UTF8(b, "machine", c->machine);
	BSON_APPEND_INT64(b, "created", c->created);
	machine_config_append(b, &c->config);
	append_temporary(b, c);
	BSON_APPEND_BOOL(b, "discarded", c->discarded);
	BSON_APPEND_ARRAY_BEGIN(b, "disks", &array);
	for (uint32_t i = 0; i < c->disks.n; i++) {
		bson_uint32_to_string(i, &index, buf, sizeof(buf));
		append_disk(&array, index, &c->disks.v[i]);
	}
	bson_append_array_end(b, &array);
	BSON_APPEND_ARRAY_BEGIN(b, "retired", &array);
	for (uint32_t i = 0; i < c->retired.n; i++) {
		bson_uint32_to_string(i, &index, buf, sizeof(buf));
		append_retired(&array, index, &c->retired.v[i]);
	}
	bson_append_array_end(b, &array);
}

static int decode_disk(bson_iter_t *i, struct clone *c)
{
	struct clone_disk d = { 0 };
	struct decode in;
	int err;

	decode_sub(&in, i);
	d.size = (uint64_t)decode_i64(&in, "size", 512, (int64_t)DISK_MAX);
	d.sector_size = (uint32_t)decode_i32(&in, "sector_size", 512, 4096);
	decode_bytes(&in, "root", d.root.b, sizeof(d.root.b));
	d.data = (uint64_t)decode_i64(&in, "data", 0, (int64_t)DISK_MAX);
	if (decode_has(&in, "lost"))
		d.lost =
			(uint64_t)decode_i64(&in, "lost", 0, (int64_t)DISK_MAX);
	decode_bytes(&in, "stream", d.stream.b, sizeof(d.stream.b));
	d.from = (uint64_t)decode_i64(&in, "from", 0, INT64_MAX);
	d.name = decode_text(&in, "name");
	err = decode_error(&in);
	if (err == 0 && (d.size % 512 || !d.name || !disk_name_ok(d.name)))
		err = -EBADMSG;
	if (err == 0 && vec_add(&c->disks, d) < 0)
		err = -ENOMEM;
	if (err < 0)
		free(d.name);
	return err;
}

static int decode_retired(bson_iter_t *i, struct clone *c)
{
	struct retired_root r = { 0 };
	struct decode in;

	decode_sub(&in, i);
	decode_bytes(&in, "root", r.root.b, sizeof(r.root.b));
	r.size = (uint64_t)decode_i64(&in, "size", 512, (int64_t)DISK_MAX);
	if (in.bad)
		return -EBADMSG;
	return vec_add(&c->retired, r) < 0 ? -ENOMEM : 0;
}

static void decode_each(struct decode *in, const char *field, struct clone *c,
	int (*one)(bson_iter_t *i, struct clone *c))
{
	bson_iter_t i;
	int err = 0;

	if (!decode_array(in, field, &i))
		return;
	while (err == 0 && bson_iter_next(&i))
		err = one(&i, c);
	if (err < 0)
		decode_spoil(in, field, err);
}

static void decode_base(struct decode *in, struct clone *c)
{
	uint8_t b[POINT_ID_LEN] = { 0 };
	struct key key;

	decode_bytes(in, "base", b, sizeof(b));
	key = key_of(b, sizeof(b));
	if (!in->bad && point_key_parse(&key, &c->base) < 0)
		decode_spoil(in, "base", -EBADMSG);
}

static void decode_temporary(struct decode *in, struct clone *c)
{
	struct decode temporary;
	bson_iter_t i;

	if (!decode_has(in, "temporary") ||
		!bson_iter_init_find(&i, &in->doc, "temporary"))
		return;
	decode_sub(&temporary, &i);
	c->host = decode_text(&temporary, "host");
	c->process = decode_text(&temporary, "process");
	if (temporary.bad)
		decode_spoil(in, "temporary", decode_error(&temporary));
}

/* Discarded ones, too. */
static int decode_clone(const struct doc *d, struct clone *ret)
{
	struct clone c = { .version = d->version };
	struct decode in;
	int err;

	if (d->key.len != sizeof(c.id.b))
		return fail(EBADMSG, "clones: a damaged key");
	memcpy(c.id.b, d->key.b, sizeof(c.id.b));
	decode_begin(&in, d);
	if (decode_has(&in, "name"))
		c.name = decode_text(&in, "name");
	decode_base(&in, &c);
	c.machine = decode_text(&in, "machine");
	c.created = decode_i64(&in, "created", 0, INT64_MAX);
	machine_config_decode(&in, &c.config);
	decode_temporary(&in, &c);
	c.discarded = decode_bool(&in, "discarded");
	decode_each(&in, "disks", &c, decode_disk);
	decode_each(&in, "retired", &c, decode_retired);
	if (!in.bad &&
		(!machine_name_ok(c.machine) || (c.name && !name_ok(c.name))))
		decode_spoil(&in, "name", -EBADMSG);
	err = decode_end(&in, "clone");
	if (err < 0)
		clone_fini(&c);
	else
		*ret = c;
	return err;
}

int clone_read(struct repo *r, const struct uuid *id, struct clone *ret)
{
	struct key key = key_of(id->b, sizeof(id->b));
	struct doc d;
	int err = store_get(r->store, COLL_CLONES, &key, &d);

	if (err < 0)
		return err;
	err = decode_clone(&d, ret);
	doc_fini(&d);
	return err;
}

int clone_get(struct repo *r, const struct uuid *id, struct clone *ret)
{
	struct clone c;
	int err = clone_read(r, id, &c);

	if (err < 0)
		return err;
	if (c.discarded) {
		clone_fini(&c);
		return -ENOENT;
	}
	*ret = c;
	return 0;
}

static int judge(struct repo *r, const struct clone *c, int err)
{
	struct clone now;
	bool same;
	int read;

	if (err != -EBADMSG)
		return err;
	read = clone_get(r, &c->id, &now);
	if (read == -ENOENT)
		return -ESTALE;
	if (read < 0)
		return read;
	same = now.version == c->version;
	clone_fini(&now);
	return same ? err : -ESTALE;
}

int clone_judge(struct repo *r, const struct clone *c, int err)
{
	err = judge(r, c, err);
	log_release(err != -ESTALE);
	return err;
}

static struct doc doc_of(const struct clone *c, uint64_t version, bson_t *b)
{
	encode(c, b);
	return (struct doc){ .coll = COLL_CLONES,
		.key = key_of(c->id.b, sizeof(c->id.b)),
		.version = version,
		.body = bson_get_data(b),
		.len = b->len };
}

int clone_swap(struct repo *r, struct clone *c)
{
	bson_t b = BSON_INITIALIZER;
	struct doc d = doc_of(c, c->version + 1, &b);
	int err;

	/* first all that it reaches, then the clone, then the news of it */
	err = store_sync(r->store);
	if (err == 0)
		err = c->version ? store_replace(r->store, &d, c->version)
				 : store_insert(r->store, &d);
	if (err == 0)
		err = store_sync(r->store);
	if (err == 0)
		c->version++;
	bson_destroy(&b);
	return err == -ENOENT || err == -EEXIST ? -ESTALE : err;
}

/* A discarded one in the place of one that was about to be inserted. */
static int forbid(struct repo *r, const struct uuid *id)
{
	static char nobody[] = "none";
	struct clone c = { .id = *id,
		.machine = nobody,
		.created = time(NULL),
		.discarded = true };

	return clone_swap(r, &c);
}

int clone_fence(struct repo *r, const struct uuid *id, uint64_t version)
{
	struct clone c;
	int err;

	if (version == 0) {
		err = forbid(r, id);
		return err == -ESTALE ? 0 : err;
	}
	err = clone_read(r, id, &c);
	if (err < 0)
		return err == -ENOENT ? 0 : err;
	/* another version: it has published, or is fenced already */
	if (c.version == version)
		err = clone_swap(r, &c);
	clone_fini(&c);
	return err == -ESTALE ? 0 : err;
}

static bool is_gone(const struct retired_root *root,
	const struct retired_root *gone, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (digest_eq(&root->root, &gone[i].root))
			return true;
	return false;
}

int clone_forget(struct repo *r, const struct clone *c,
	const struct retired_root *gone, size_t n)
{
	bson_t b = BSON_INITIALIZER;
	struct clone less = *c;
	struct doc d;
	int err = 0;

	less.retired.v = calloc(c->retired.n + 1, sizeof(*less.retired.v));
	less.retired.n = less.retired.cap = 0;
	if (!less.retired.v)
		return fail(ENOMEM, "clone: %m");
	for (size_t i = 0; i < c->retired.n; i++)
		if (!is_gone(&c->retired.v[i], gone, n))
			less.retired.v[less.retired.n++] = c->retired.v[i];
	d = doc_of(&less, c->version, &b);
	if (less.retired.n < c->retired.n)
		err = store_replace(r->store, &d, c->version);
	bson_destroy(&b);
	free(less.retired.v);
	return err == -ENOENT ? -ESTALE : err;
}

static int retire(struct clone *c)
{
	for (size_t i = 0; i < c->disks.n; i++) {
		const struct clone_disk *d = &c->disks.v[i];

		if (!digest_is_none(&d->root) &&
			vec_add(&c->retired,
				(struct retired_root){
					.root = d->root, .size = d->size }) < 0)
			return fail(ENOMEM, "clone: %m");
	}
	return 0;
}

int clone_drop(struct repo *r, struct clone *c)
{
	size_t n = c->disks.n;
	int err = retire(c);

	if (err < 0)
		return err;
	/* the document has them no more; C does, for whoever removes them */
	c->disks.n = 0;
	c->discarded = true;
	err = clone_swap(r, c);
	c->disks.n = n;
	return err;
}

void clone_remove_streams(struct repo *r, const struct clone *c)
{
	for (size_t i = 0; i < c->disks.n; i++) {
		int err = stream_remove(r->store, &c->disks.v[i].stream);

		if (err < 0 && err != -ENOENT)
			log_warn("clone: a stream was left behind");
	}
}

int clone_discard(struct repo *r, struct clone *c)
{
	int err = clone_drop(r, c);

	/* from here on the clone is gone: a stream left behind is but space */
	if (err == 0)
		clone_remove_streams(r, c);
	return err;
}

struct listing {
	clone_visit visit;
	void *arg;
	int damage;
};

/* One damaged document must not hide the clones behind it. */
static int visit_doc(void *arg, const struct doc *d)
{
	struct listing *l = arg;
	struct clone c;
	int err = decode_clone(d, &c);

	if (err == -EBADMSG) {
		l->damage = err;
		return 0;
	}
	if (err < 0)
		return err;
	if (!c.discarded)
		err = l->visit(l->arg, &c);
	clone_fini(&c);
	return err;
}

int clone_list(struct repo *r, clone_visit visit, void *arg)
{
	struct listing l = { .visit = visit, .arg = arg };
	int err = store_scan(r->store, COLL_CLONES, NULL, 0, visit_doc, &l);

	return err ? err : l.damage;
}

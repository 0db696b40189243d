/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/point.h"

#include <bson/bson.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "repo/chunk.h"
#include "repo/decode.h"
#include "repo/label.h"
#include "repo/machine.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/text.h"

struct key point_key(const struct point_id *id)
{
	uint8_t b[POINT_ID_LEN];

	memcpy(b, id->machine.b, 16);
	put_be64(b + 16, (uint64_t)id->time);
	memcpy(b + 24, id->writer.b, 16);
	return key_of(b, sizeof(b));
}

static int id_parse(const uint8_t b[POINT_ID_LEN], struct point_id *ret)
{
	uint64_t t = get_be64(b + 16);

	/* beyond the year 9999 no time has a name that can be parsed again */
	if (t > UINT64_C(253402300799))
		return -EBADMSG;
	memcpy(ret->machine.b, b, 16);
	ret->time = (int64_t)t;
	memcpy(ret->writer.b, b + 24, 16);
	return 0;
}

int point_key_parse(const struct key *key, struct point_id *ret)
{
	if (key->len != POINT_ID_LEN || id_parse(key->b, ret) < 0)
		return fail(EBADMSG, "points: a damaged key");
	return 0;
}

char *point_alias(const struct point_id *id, char buf[ALIAS_LEN + 1])
{
	return hex_encode(id->writer.b, ALIAS_LEN / 2, buf);
}

const char *consistency_name(enum consistency c)
{
	static const char *const names[] = {
		[CONSISTENCY_NONE] = "none",
		[CONSISTENCY_CRASH] = "crash",
		[CONSISTENCY_FILESYSTEM] = "filesystem",
		[CONSISTENCY_APPLICATION] = "application",
	};

	return names[c];
}

void point_fini(struct point *p)
{
	for (size_t i = 0; i < p->disks.n; i++) {
		free(p->disks.v[i].name);
		free(p->disks.v[i].source);
	}
	vec_fini(&p->disks);
	free(p->machine);
	free(p->host);
	free(p->version);
	memset(p, 0, sizeof(*p));
}

struct point_disk *point_disk(struct point *p, const char *name)
{
	for (size_t i = 0; i < p->disks.n; i++)
		if (strcmp(p->disks.v[i].name, name) == 0)
			return &p->disks.v[i];
	return NULL;
}

/* A path may hold any bytes, a BSON string only UTF-8. */
static void append_text(bson_t *b, const char *field, const char *text)
{
	char *clean = strdup(text ? text : "");

	if (clean && !bson_utf8_validate(clean, strlen(clean), false))
		for (char *c = clean; *c; c++)
			if ((unsigned char)*c >= 0x80)
				*c = '?';
	bson_append_utf8(b, field, -1, clean ? clean : "", -1);
	free(clean);
}

/* The statistics by name: written, read back and documented as one list. */
#define STATS(X)                                                               \
	X(read, "read")                                                        \
	X(data, "data")                                                        \
	X(fresh, "new")                                                        \
	X(stored, "stored")                                                    \
	X(changed, "changed")                                                  \
	X(lost, "lost")                                                        \
	X(n_chunks, "chunks")                                                  \
	X(n_maps, "maps")

static void append_disk(
	bson_t *b, const char *index, const struct point_disk *d)
{
	bson_t disk, stats;

	BSON_APPEND_DOCUMENT_BEGIN(b, index, &disk);
	append_text(&disk, "name", d->name);
	BSON_APPEND_INT64(&disk, "size", (int64_t)d->size);
	BSON_APPEND_INT32(&disk, "sector_size", (int32_t)d->sector_size);
	BSON_APPEND_BINARY(&disk, "root", BSON_SUBTYPE_BINARY, d->root.b,
		sizeof(d->root.b));
	append_text(&disk, "source", d->source);
	BSON_APPEND_DOCUMENT_BEGIN(&disk, "stats", &stats);
#define X(member, name)                                                        \
	BSON_APPEND_INT64(&stats, name, (int64_t)d->stats.member);
	STATS(X)
#undef X
	bson_append_document_end(&disk, &stats);
	bson_append_document_end(b, &disk);
}

static void encode(const struct point *p, bson_t *b)
{
	bson_t disks;

	append_text(b, "machine", p->machine);
	if (p->has_parent) {
		struct key parent = point_key(&p->parent);

		BSON_APPEND_BINARY(
			b, "parent", BSON_SUBTYPE_BINARY, parent.b, parent.len);
	}
	BSON_APPEND_INT32(b, "consistency", (int32_t)p->consistency);
	BSON_APPEND_INT64(b, "end", p->end);
	BSON_APPEND_INT64(b, "duration_ms", (int64_t)p->duration_ms);
	append_text(b, "host", p->host);
	append_text(b, "version", p->version);
	machine_config_append(b, &p->config);
	BSON_APPEND_ARRAY_BEGIN(b, "disks", &disks);
	for (uint32_t i = 0; i < p->disks.n; i++) {
		char buf[16];
		const char *index;

		bson_uint32_to_string(i, &index, buf, sizeof(buf));
		append_disk(&disks, index, &p->disks.v[i]);
	}
	bson_append_array_end(b, &disks);
}

/* First all that it reaches, then the point, then the news of it. */
static int publish(struct repo *r, const struct doc *d)
{
	int err = store_sync(r->store);

	if (err == 0)
		err = d->version == 1
			      ? store_insert(r->store, d)
			      : store_replace(r->store, d, d->version - 1);
	return err < 0 ? err : store_sync(r->store);
}

int point_insert(struct repo *r, const struct point *p)
{
	bson_t b = BSON_INITIALIZER;
	struct doc d;
	int err;

	encode(p, &b);
	d = (struct doc){ .coll = COLL_POINTS,
		.key = point_key(&p->id),
		.version = 1,
		.body = bson_get_data(&b),
		.len = b.len };
	err = publish(r, &d);
	bson_destroy(&b);
	return err;
}

int point_copy(
	struct repo *r, const struct doc *doc, const struct point_place *place)
{
	struct doc d = { .coll = COLL_POINTS,
		.key = doc->key,
		.version = place->version + 1,
		.body = doc->body,
		.len = doc->len };
	int err = publish(r, &d);

	return err == -ESTALE || err == -ENOENT ? -EEXIST : err;
}

static int decode_disk(bson_iter_t *i, struct point *p)
{
	struct point_disk d = { 0 };
	struct decode in, stats;
	bson_iter_t s;
	int err;

	decode_sub(&in, i);
	d.size = (uint64_t)decode_i64(&in, "size", 512, (int64_t)DISK_MAX);
	d.sector_size = (uint32_t)decode_i32(&in, "sector_size", 512, 4096);
	decode_bytes(&in, "root", d.root.b, sizeof(d.root.b));
	if (!decode_has(&in, "stats") ||
		!bson_iter_init_find(&s, &in.doc, "stats"))
		return -EBADMSG;
	decode_sub(&stats, &s);
#define X(member, name)                                                        \
	d.stats.member = (uint64_t)decode_i64(&stats, name, 0, INT64_MAX);
	STATS(X)
#undef X
	if (in.bad || stats.bad || d.size % 512)
		return -EBADMSG;
	d.name = decode_text(&in, "name");
	d.source = decode_text(&in, "source");
	err = decode_error(&in);
	if (err == 0 && !disk_name_ok(d.name))
		err = -EBADMSG;
	if (err == 0 && vec_add(&p->disks, d) < 0)
		err = -ENOMEM;
	if (err < 0) {
		free(d.name);
		free(d.source);
	}
	return err;
}

static void decode_parent(struct decode *in, struct point *p)
{
	uint8_t b[POINT_ID_LEN] = { 0 };

	if (!decode_has(in, "parent"))
		return;
	decode_bytes(in, "parent", b, sizeof(b));
	p->has_parent = id_parse(b, &p->parent) == 0;
}

/* ret->id is set; -ENOENT, quietly, for a tombstone or a fence. */
static int decode_point(const struct doc *d, struct point *ret)
{
	struct decode in;
	bson_iter_t disks;
	char when[32];
	int err = 0;

	decode_begin(&in, d);
	if (decode_bool(&in, "tombstone") || decode_bool(&in, "fenced"))
		return -ENOENT;
	ret->machine = decode_text(&in, "machine");
	decode_parent(&in, ret);
	ret->consistency = (enum consistency)decode_i32(
		&in, "consistency", CONSISTENCY_NONE, CONSISTENCY_APPLICATION);
	ret->end = decode_i64(&in, "end", 0, INT64_MAX);
	ret->duration_ms =
		(uint64_t)decode_i64(&in, "duration_ms", 0, INT64_MAX);
	ret->host = decode_text(&in, "host");
	ret->version = decode_text(&in, "version");
	machine_config_decode(&in, &ret->config);
	if (decode_array(&in, "disks", &disks))
		while (err == 0 && bson_iter_next(&disks))
			err = decode_disk(&disks, ret);
	if (err < 0)
		decode_spoil(&in, "disks", err);
	if (ret->machine && !machine_name_ok(ret->machine))
		decode_spoil(&in, "machine", -EBADMSG);
	if (decode_error(&in) == -ENOMEM)
		return fail(
			ENOMEM, "point %s: %m", time_text(ret->id.time, when));
	return in.bad ? fail(EBADMSG, "point %s: damaged document: field %s",
				time_text(ret->id.time, when), in.field)
		      : 0;
}

/* -ENOENT, quietly, if it was removed. */
static int check_label(struct repo *r, const struct point_id *id)
{
	struct label l;
	int err = label_get(r, id, &l);

	return err == 0 && l.removed ? -ENOENT : err;
}

/* The label first: what was removed may be damaged, and nobody minds. */
int point_get(struct repo *r, const struct point_id *id, struct point *ret)
{
	int err = check_label(r, id);

	return err < 0 ? err : point_read(r, id, ret);
}

int point_read(struct repo *r, const struct point_id *id, struct point *ret)
{
	struct key key = point_key(id);
	struct point p = { .id = *id };
	struct doc d;
	int err = store_get(r->store, COLL_POINTS, &key, &d);

	if (err < 0)
		return err;
	err = decode_point(&d, &p);
	doc_fini(&d);
	if (err < 0)
		point_fini(&p);
	else
		*ret = p;
	return err;
}

char *point_naming(struct repo *r, const struct point_id *id)
{
	scoped(freep) char *name = machine_name(r, &id->machine);
	char when[32], alias[ALIAS_LEN + 1];
	char *text;

	if (asprintf(&text, "%s@%s, alias %s", name ? name : "?",
		    time_text(id->time, when), point_alias(id, alias)) < 0)
		return NULL;
	return text;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/probe_mongo.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "repo/mongo.h"
#include "src/bytes.h"
#include "src/monotonic.h"
#include "src/uuid.h"

#define LOAD_DOCS 64u
#define LOAD_LEN (128u << 10)
#define OLDEST "3.6"
#define MEMBER_WAIT_S 2u

struct server {
	const struct probe *p;
	struct mongo *m;
	bool router, set;
};

static const char *text_of(const bson_t *b, const char *field)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, b, field) && BSON_ITER_HOLDS_UTF8(&it)
		       ? bson_iter_utf8(&it, NULL)
		       : NULL;
}

static bool says_true(const bson_t *b, const char *field)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, b, field) && bson_iter_as_bool(&it);
}

static bool is_older(const char *version)
{
	int major = 0, minor = 0;

	/* NOLINTNEXTLINE(cert-err34-c): what it cannot read stays 0 */
	return sscanf(version, "%3d.%3d", &major, &minor) == 2 &&
	       (major < 3 || (major == 3 && minor < 6));
}

static void check_version(struct server *s)
{
	bson_t *command = BCON_NEW("buildInfo", BCON_INT32(1));
	const char *version = NULL;
	bson_t reply;

	probe_listen();
	if (mongo_command(s->m, "version", command, &reply) == 0)
		version = text_of(&reply, "version");
	if (!version)
		probe_heard(s->p, "version", PROBE_WARNING,
			"whether the server is new enough is not known");
	else if (is_older(version))
		probe_say(s->p, "version", PROBE_FAILED,
			"the server is %s: it has to be " OLDEST " or newer",
			version);
	else
		probe_say(
			s->p, "version", PROBE_OK, "the server is %s", version);
	bson_destroy(&reply);
	bson_destroy(command);
}

static unsigned members(const bson_t *hello)
{
	bson_iter_t it, hosts;
	unsigned n = 0;

	if (bson_iter_init_find(&it, hello, "hosts") &&
		BSON_ITER_HOLDS_ARRAY(&it) && bson_iter_recurse(&it, &hosts))
		while (bson_iter_next(&hosts))
			n++;
	return n;
}

static void say_kind(struct server *s, const mongoc_server_description_t *d)
{
	const char *type = mongoc_server_description_type(d);
	unsigned n = members(mongoc_server_description_hello_response(d));

	s->router = strcmp(type, "Mongos") == 0;
	s->set = strcmp(type, "RSPrimary") == 0;
	if (s->router)
		probe_say(s->p, "kind", PROBE_OK, "a sharded cluster");
	else if (s->set && n == 2)
		probe_say(s->p, "kind", PROBE_WARNING,
			"a replica set of two: nothing can be written while "
			"either is down; add a third member");
	else if (s->set)
		probe_say(s->p, "kind", PROBE_OK,
			"a replica set, members that vote or hold data: %u", n);
	else
		probe_say(s->p, "kind", PROBE_OK,
			"one server: what it acknowledges is on one disk");
}

/* Has anything been heard of it? The library lists no others. */
static bool is_known(mongoc_client_t *client, const char *host)
{
	mongoc_server_description_t **all;
	bool known = false;
	size_t n;

	all = mongoc_client_get_server_descriptions(client, &n);
	for (size_t i = 0; i < n; i++)
		known |= strcmp(host, mongoc_server_description_host(all[i])
					      ->host_and_port) == 0;
	mongoc_server_descriptions_destroy_all(all, n);
	return known;
}

static bool answers(mongoc_client_t *client, const char *host)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	bool known = is_known(client, host);

	for (unsigned i = 0; !known && i < MEMBER_WAIT_S * 10; i++) {
		nanosleep(&pause, NULL);
		known = is_known(client, host);
	}
	return known;
}

static void check_members(struct server *s)
{
	mongoc_client_t *client = mongoc_client_pool_pop(s->m->pool);
	mongoc_server_description_t *d;
	bson_iter_t it, host;
	bool ok = true;
	bson_error_t e;

	d = mongoc_client_select_server(client, true, NULL, &e);
	if (d &&
		bson_iter_init_find(&it,
			mongoc_server_description_hello_response(d), "hosts") &&
		BSON_ITER_HOLDS_ARRAY(&it) && bson_iter_recurse(&it, &host))
		while (bson_iter_next(&host)) {
			const char *name = BSON_ITER_HOLDS_UTF8(&host)
						   ? bson_iter_utf8(&host, NULL)
						   : NULL;

			if (!name || answers(client, name))
				continue;
			ok = false;
			probe_say(s->p, "members", PROBE_WARNING,
				"%s does not answer; see that it runs, since "
				"nothing can be written without a majority",
				name);
		}
	if (d && ok)
		probe_say(s->p, "members", PROBE_OK, "all of them answer");
	if (d)
		mongoc_server_description_destroy(d);
	mongoc_client_pool_push(s->m->pool, client);
}

/* The first message of all is what a wrong password meets. */
static bool check_answer(struct server *s)
{
	bson_t *command = BCON_NEW("ping", BCON_INT32(1));
	bson_t reply;
	int r = mongo_command(s->m, "ping", command, &reply);

	if (r < 0)
		probe_heard(s->p, "server", PROBE_FAILED,
			r == -EACCES ? "correct it in the URI" : NULL);
	bson_destroy(&reply);
	bson_destroy(command);
	return r == 0;
}

/* False: no server answers, and nothing else can be tried. */
static bool check_server(struct server *s)
{
	mongoc_client_t *client = mongoc_client_pool_pop(s->m->pool);
	struct mongo_try t = mongo_try("connect");
	mongoc_server_description_t *d;
	bson_error_t e;

	probe_listen();
	d = mongoc_client_select_server(client, true, NULL, &e);
	if (d) {
		say_kind(s, d);
		mongoc_server_description_destroy(d);
	} else {
		probe_heard(s->p, "server", PROBE_FAILED,
			mongo_fail(s->m, &t, &e) == -EACCES
				? "see tlsCAFile in the URI"
				: "see that it runs and can be reached from "
				  "here");
	}
	mongoc_client_pool_push(s->m->pool, client);
	return d && check_answer(s);
}

/* Tries, changing nothing: a server says no before it looks for anything. */
enum try { TRY_FIND, TRY_UPDATE, TRY_REMOVE };

static bool may(struct server *s, const char *coll, enum try try)
{
	struct mongo_coll c = mongo_take(s->m, coll);
	bson_t *none = BCON_NEW("_id", BCON_UTF8(""));
	bson_t *change = BCON_NEW("$set", "{", "v", BCON_INT64(0), "}");
	struct mongo_try t = mongo_try(coll);
	bson_error_t e = { 0 };
	mongoc_cursor_t *cursor;
	const bson_t *found;
	bool ok = false;

	switch (try) {
	case TRY_FIND:
		cursor =
			mongoc_collection_find_with_opts(c.c, none, NULL, NULL);
		ok = mongoc_cursor_next(cursor, &found) ||
		     !mongoc_cursor_error(cursor, &e);
		mongoc_cursor_destroy(cursor);
		break;
	case TRY_UPDATE:
		ok = mongoc_collection_update_one(
			c.c, none, change, NULL, NULL, &e);
		break;
	case TRY_REMOVE:
		ok = mongoc_collection_delete_one(c.c, none, NULL, NULL, &e);
		break;
	}
	bson_destroy(change);
	bson_destroy(none);
	mongo_give(&c);
	return ok || mongo_fail(s->m, &t, &e) == 0;
}

/* Each of hivefs-mongodb(7)'s roles has what those before it have. */
static const struct role {
	const char *name, *what;
	const char *coll;
	enum try try;
} roles[] = {
	{ "hivefsRestore", "list, verify and restore", "chunks", TRY_FIND },
	{ "hivefsBackup", "back up", "writers", TRY_REMOVE },
	{ "hivefsCopy", "be copied to", "labels", TRY_UPDATE },
	{ "hivefsMount", "mount and write to clones", "clones", TRY_UPDATE },
	{ "hivefsMaintain", "do everything", "points", TRY_REMOVE },
};

/* As many roles as it has; a mount need not be able to be copied to. */
static void check_role(struct server *s, bool *ret_writable)
{
	const struct role *best = NULL;

	probe_listen();
	for (unsigned i = 0; i < N_ELEMS(roles); i++) {
		if (may(s, roles[i].coll, roles[i].try))
			best = &roles[i];
		else if (i < 2)
			break;
	}
	if (!best) {
		probe_heard(s->p, "permissions", PROBE_FAILED,
			"give the user a role of hivefs-mongodb(7)");
		return;
	}
	*ret_writable = best > &roles[0];
	probe_say(s->p, "permissions", PROBE_OK,
		"this user can %s, as with the role %s", best->what,
		best->name);
}

static void say_indexes(struct server *s, const char *coll, unsigned n)
{
	probe_say(s->p, "indexes", PROBE_WARNING,
		"%s has %u index%s that hivefs never uses and that take%s "
		"memory for each of its documents: drop %s",
		coll, n, n == 1 ? "" : "es", n == 1 ? "s" : "",
		n == 1 ? "it" : "them");
}

/* Those on _id, that of the router's included, are the only ones. */
static bool check_indexes(struct server *s, const char *coll)
{
	struct mongo_coll c = mongo_take(s->m, coll);
	mongoc_cursor_t *cursor =
		mongoc_collection_find_indexes_with_opts(c.c, NULL);
	bool by_id = false, known;
	unsigned others = 0;
	bson_error_t e;
	const bson_t *b;

	while (mongoc_cursor_next(cursor, &b)) {
		const char *name = text_of(b, "name");

		if (name && strcmp(name, "_id_") == 0)
			by_id = true;
		else if (!name || strcmp(name, "_id_hashed") != 0)
			others++;
	}
	known = !mongoc_cursor_error(cursor, &e);
	mongoc_cursor_destroy(cursor);
	mongo_give(&c);
	if (known && others)
		say_indexes(s, coll, others);
	if (known && !by_id)
		probe_say(s->p, "indexes", PROBE_WARNING,
			"%s has none on _id yet, or is not there: the first "
			"document makes it",
			coll);
	return known && by_id && !others;
}

/* How init makes them: sharded on a router, without block compression. */
static bool check_made(struct server *s, const char *coll)
{
	bson_t *command = BCON_NEW("collStats", BCON_UTF8(coll));
	const char *how = NULL;
	bson_iter_t it, sub;
	bson_t reply;
	bool ok = mongo_command(s->m, "collections", command, &reply) == 0;

	if (ok && bson_iter_init(&it, &reply) &&
		bson_iter_find_descendant(
			&it, "wiredTiger.creationString", &sub) &&
		BSON_ITER_HOLDS_UTF8(&sub))
		how = bson_iter_utf8(&sub, NULL);
	if (how && !strstr(how, "block_compressor=none") &&
		!strstr(how, "block_compressor=,")) {
		ok = false;
		probe_say(s->p, "collections", PROBE_WARNING,
			"%s is compressed by the server once more, for "
			"nothing: make the repository with hivefs init, which "
			"turns that off",
			coll);
	}
	if (ok && s->router && !says_true(&reply, "sharded")) {
		ok = false;
		probe_say(s->p, "collections", PROBE_WARNING,
			"%s is on one shard: sh.shardCollection(\"%s.%s\", "
			"{_id: \"hashed\"}) spreads it",
			coll, s->m->db, coll);
	}
	bson_destroy(&reply);
	bson_destroy(command);
	return ok;
}

static void check_collections(struct server *s)
{
	static const char *const big[] = { "chunks", "maps" };
	bool indexes = true, made = true;

	for (unsigned i = 0; i < N_ELEMS(big); i++) {
		indexes &= check_indexes(s, big[i]);
		made &= check_made(s, big[i]);
	}
	if (indexes)
		probe_say(s->p, "indexes", PROBE_OK,
			"those on _id, and no others");
	if (made)
		probe_say(s->p, "collections", PROBE_OK,
			"as hivefs init makes them");
}

static bool load(struct mongo_coll *c, bool *ret_made, double *ret_ms)
{
	mongoc_bulk_operation_t *bulk;
	bson_t *unordered = BCON_NEW("ordered", BCON_BOOL(false));
	uint8_t *data = malloc(LOAD_LEN);
	double begin = monotonic_seconds() * 1e3;
	bson_error_t e;
	bool ok = data != NULL;

	bulk = mongoc_collection_create_bulk_operation_with_opts(
		c->c, unordered);
	for (int32_t i = 0; ok && i < (int32_t)LOAD_DOCS; i++) {
		bson_t b = BSON_INITIALIZER;

		for (unsigned k = 0; k < LOAD_LEN; k += 8)
			put_le64(data + k, random_u64());
		BSON_APPEND_INT32(&b, "_id", i);
		BSON_APPEND_BINARY(
			&b, "data", BSON_SUBTYPE_BINARY, data, LOAD_LEN);
		ok = mongoc_bulk_operation_insert_with_opts(bulk, &b, NULL, &e);
		bson_destroy(&b);
	}
	begin = monotonic_seconds() * 1e3;
	if (ok)
		*ret_made = ok =
			mongoc_bulk_operation_execute(bulk, NULL, &e) != 0;
	*ret_ms = monotonic_seconds() * 1e3 - begin;
	mongoc_bulk_operation_destroy(bulk);
	bson_destroy(unordered);
	free(data);
	return ok;
}

static bool fetch(struct mongo_coll *c, double *ret_ms)
{
	bson_t all = BSON_INITIALIZER;
	double begin = monotonic_seconds() * 1e3;
	mongoc_cursor_t *cursor =
		mongoc_collection_find_with_opts(c->c, &all, NULL, NULL);
	const bson_t *b;
	bson_error_t e;
	unsigned n = 0;

	while (mongoc_cursor_next(cursor, &b))
		n++;
	*ret_ms = monotonic_seconds() * 1e3 - begin;
	if (mongoc_cursor_error(cursor, &e))
		n = 0;
	mongoc_cursor_destroy(cursor);
	bson_destroy(&all);
	return n == LOAD_DOCS;
}

/* In a collection of its own, which only some users may make. */
static void check_rate(struct server *s)
{
	char uuid[UUID_TEXT], name[UUID_TEXT + 16];
	const struct uuid id = uuid_random();
	double in = 1, out = 1;
	struct mongo_coll c;
	bson_error_t e;
	bool made = false, ok;

	snprintf(name, sizeof(name), "doctor_%s", uuid_text(&id, uuid));
	c = mongo_take(s->m, name);
	ok = load(&c, &made, &in) && fetch(&c, &out);
	if (made && !mongoc_collection_drop(c.c, &e))
		probe_say(s->p, "rate", PROBE_WARNING,
			"the collection %s was made for this and could not be "
			"dropped: drop it",
			name);
	else if (ok)
		probe_say(s->p, "rate", PROBE_OK,
			"8 MiB in at %.0f MiB/s, out at %.0f MiB/s", 8e3 / in,
			8e3 / out);
	else
		probe_say(s->p, "rate", PROBE_OK,
			"not measured: this user may not make a collection for "
			"that");
	mongo_give(&c);
}

int probe_mongo(const struct probe *p, const char *url, bool *ret_writable)
{
	struct server s = { .p = p };
	bool there;
	int r;

	probe_listen();
	r = mongo_connect(url, 0, &s.m);
	if (r < 0) {
		probe_heard(p, "server", PROBE_FAILED, NULL);
		return r;
	}
	there = check_server(&s);
	if (there) {
		check_version(&s);
		check_role(&s, ret_writable);
		check_collections(&s);
		if (*ret_writable)
			check_rate(&s);
		if (s.set)
			check_members(&s);
	}
	mongo_disconnect(s.m);
	return there ? 0 : -EIO;
}

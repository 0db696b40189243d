/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/mongo.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/bytes.h"
#include "src/log.h"
#include "src/url.h"

#define DEFAULT_DATABASE "hivefs"
#define SOCKET_TIMEOUT_MS 60000
#define WRITE_TIMEOUT_MS 60000
#define CLOSE_MS 1000

/* The library would write its own lines to stderr. */
static void library_log(
	mongoc_log_level_t level, const char *domain, const char *text, void *u)
{
	(void)level;
	(void)u;
	log_debug("mongo", "%s: %s", domain, text);
}

/*
 * Messages are of megabytes and buffers for them come and go all the time:
 * given back to the system each time, every page of them is made and cleared
 * anew.
 */
#define KEEP_BUFFERS (32 << 20)

static void library_begin(void)
{
	/* NOLINTBEGIN(concurrency-mt-unsafe): once, before threads start */
	mallopt(M_MMAP_THRESHOLD, KEEP_BUFFERS);
	mallopt(M_TRIM_THRESHOLD, KEEP_BUFFERS);
	/* NOLINTEND(concurrency-mt-unsafe) */
	mongoc_log_set_handler(library_log, NULL);
	mongoc_init();
}

static void set_concerns(mongoc_uri_t *uri)
{
	mongoc_write_concern_t *w = mongoc_write_concern_new();
	mongoc_read_concern_t *r = mongoc_read_concern_new();
	mongoc_read_prefs_t *p = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);

	mongoc_write_concern_set_wmajority(w, WRITE_TIMEOUT_MS);
	mongoc_write_concern_set_journal(w, true);
	mongoc_read_concern_set_level(r, MONGOC_READ_CONCERN_LEVEL_MAJORITY);
	mongoc_uri_set_write_concern(uri, w);
	mongoc_uri_set_read_concern(uri, r);
	mongoc_uri_set_read_prefs_t(uri, p);
	mongoc_write_concern_destroy(w);
	mongoc_read_concern_destroy(r);
	mongoc_read_prefs_destroy(p);
}

static int parse(struct mongo *m, const char *url, mongoc_uri_t **ret)
{
	bson_error_t e = { 0 };
	mongoc_uri_t *uri = mongoc_uri_new_with_error(url, &e);
	const char *db;

	if (!uri)
		/* with a password in it, its text is not for messages */
		return strchr(url, '@')
			       ? fail(EINVAL,
					 "%s: is no valid URI of a "
					 "MongoDB server",
					 m->name)
			       : fail(EINVAL, "%s: %s", m->name, e.message);
	m->tls = mongoc_uri_get_tls(uri);
	m->has_user = mongoc_uri_get_username(uri) ||
		      mongoc_uri_get_auth_mechanism(uri);
	set_concerns(uri);
	mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS,
		mongoc_uri_get_option_as_int32(
			uri, MONGOC_URI_SOCKETTIMEOUTMS, SOCKET_TIMEOUT_MS));
	m->patience = 2 * (int64_t)mongoc_uri_get_option_as_int32(uri,
				  MONGOC_URI_SERVERSELECTIONTIMEOUTMS, 30000);
	if (!mongoc_uri_get_appname(uri))
		mongoc_uri_set_appname(uri, "hivefs");
	db = mongoc_uri_get_database(uri);
	m->db = strdup(db && *db ? db : DEFAULT_DATABASE);
	*ret = uri;
	return m->db ? 0 : fail(ENOMEM, "%s: %m", m->name);
}

/* Of the library one would hear only that no server answers. */
static int check_files(const struct mongo *m, const mongoc_uri_t *uri)
{
	static const char *const options[] = { MONGOC_URI_TLSCAFILE,
		MONGOC_URI_TLSCERTIFICATEKEYFILE };

	for (unsigned i = 0; i < N_ELEMS(options); i++) {
		const char *file =
			mongoc_uri_get_option_as_utf8(uri, options[i], NULL);

		if (file && access(file, R_OK) < 0)
			return fail(EACCES, "%s: %s: %s cannot be read",
				m->name, options[i], file);
	}
	return 0;
}

/* The library's sentence ends with a full stop, or none. */
static int fail_pool(const struct mongo *m, const bson_error_t *e)
{
	size_t len = strlen(e->message);

	len -= len > 0 && e->message[len - 1] == '.';
	return fail(EIO, "%s: %s%.*s", m->name,
		e->domain == MONGOC_ERROR_STREAM
			? "DNS does not say which servers these are: "
			: "",
		(int)len, e->message);
}

static int connect_pool(struct mongo *m, const char *url)
{
	mongoc_uri_t *uri = NULL;
	bson_error_t e = { 0 };
	int r = parse(m, url, &uri);

	if (r == 0)
		r = check_files(m, uri);
	if (r == 0) {
		m->pool = mongoc_client_pool_new_with_error(uri, &e);
		if (!m->pool)
			r = fail_pool(m, &e);
		else
			mongoc_client_pool_set_error_api(m->pool, 2);
	}
	if (r == 0) {
		m->wait.name = m->name;
		m->wait.limit = m->patience / 2;
		mongo_wait_begin(&m->wait, m->pool);
	}
	mongoc_uri_destroy(uri);
	return r;
}

int mongo_connect(const char *url, unsigned flags, struct mongo **ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	scoped(mongo_disconnectp) struct mongo *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return fail(ENOMEM, "store: %m");
	pthread_once(&once, library_begin);
	silences_init(&m->silences);
	m->flags = flags;
	m->name = url_public(url);
	r = m->name ? connect_pool(m, url) : fail(ENOMEM, "store: %m");
	if (r == 0)
		*ret = take(m);
	return r;
}

static void mongo_free(struct mongo *m)
{
	if (m->pool)
		mongoc_client_pool_destroy(m->pool);
	silences_fini(&m->silences);
	free(m->db);
	free(m->name);
	free(m);
}

struct closing {
	struct mongo *m;
	int end; /* of a pipe: closed when it is done */
};

static void *close_in_thread(void *arg)
{
	struct closing c = *(struct closing *)arg;

	free(arg);
	mongo_free(c.m);
	close(c.end);
	return NULL;
}

/* False: no thread can be had. */
static bool close_with_patience(struct mongo *m)
{
	struct closing *c = malloc(sizeof(*c));
	struct pollfd done = { .events = POLLIN };
	pthread_t thread;
	int fds[2];

	if (!c || pipe2(fds, O_CLOEXEC) != 0) {
		free(c);
		return false;
	}
	*c = (struct closing){ m, fds[1] };
	if (pthread_create(&thread, NULL, close_in_thread, c) != 0) {
		close(fds[0]);
		close(fds[1]);
		free(c);
		return false;
	}
	done.fd = fds[0];
	if (poll(&done, 1, CLOSE_MS) > 0)
		pthread_join(thread, NULL);
	else
		pthread_detach(thread);
	close(fds[0]);
	return true;
}

/*
 * The library asks each member in a thread of its own and ends with the last of
 * them, so one that does not answer would hold up every command at its end for
 * connectTimeoutMS: that one is left alone.
 */
void mongo_disconnect(struct mongo *m)
{
	mongo_wait_end(&m->wait);
	if (!close_with_patience(m))
		mongo_free(m);
}

int mongo_writable(const struct mongo *m)
{
	if (m->flags & STORE_READ_ONLY)
		return fail(EROFS, "%s: is open for reading only", m->name);
	return 0;
}

struct mongo_coll mongo_take(struct mongo *m, const char *coll)
{
	struct mongo_coll c = { .m = m,
		.client = mongoc_client_pool_pop(m->pool) };

	c.c = mongoc_client_get_collection(c.client, m->db, coll);
	return c;
}

void mongo_give(struct mongo_coll *c)
{
	mongoc_collection_destroy(c->c);
	mongoc_client_pool_push(c->m->pool, c->client);
}

int mongo_command(
	struct mongo *m, const char *what, const bson_t *command, bson_t *reply)
{
	struct mongo_try t = mongo_try(what);
	bson_error_t e;
	bool ok;

	bson_init(reply);
	do {
		mongoc_client_t *client = mongoc_client_pool_pop(m->pool);

		bson_destroy(reply);
		ok = mongoc_client_command_simple(
			client, m->db, command, NULL, reply, &e);
		mongoc_client_pool_push(m->pool, client);
	} while (!ok && mongo_again(m, &t, &e));
	return ok ? 0 : mongo_fail(m, &t, &e);
}

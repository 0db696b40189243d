/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where $HIVEFS_TEST_MONGODB names a server, tests of the contract run on
 * databases of their own there, which they drop.
 */
#ifndef HIVEFS_MONGO_HELP_H
#define HIVEFS_MONGO_HELP_H

#include <mongoc/mongoc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline const char *help_server(void)
{
	const char *uri = getenv("HIVEFS_TEST_MONGODB");

	return uri && *uri ? uri : NULL;
}

/* The server's URI with a database that nobody else has. */
static inline void help_database(char *url, size_t size)
{
	static unsigned n;
	const char *uri = help_server();
	const char *host = strstr(uri, "://") + 3;
	int len = (int)(host - uri) + (int)strcspn(host, "/?");
	const char *options = strchr(host, '?');

	snprintf(url, size, "%.*s/hivefs_test_%d_%u%s%s", len, uri, getpid(),
		n++, options ? options : "?",
		options ? "" : "serverSelectionTimeoutMS=3000");
}

static inline void help_drop(const char *url)
{
	mongoc_client_t *client;
	mongoc_uri_t *uri;
	mongoc_database_t *db;

	mongoc_init();
	client = mongoc_client_new(url);
	uri = mongoc_uri_new(url);
	db = mongoc_client_get_database(client, mongoc_uri_get_database(uri));
	mongoc_database_drop(db, NULL);
	mongoc_database_destroy(db);
	mongoc_uri_destroy(uri);
	mongoc_client_destroy(client);
}

/* Of a test that has a directory of its own: a database, or that. */
static char help_repository_url[640];
static inline const char *help_repository(const char *dir)
{
	if (!help_server())
		return dir;
	help_database(help_repository_url, sizeof(help_repository_url));
	return help_repository_url;
}

static inline void help_repository_end(void)
{
	if (help_server() && help_repository_url[0])
		help_drop(help_repository_url);
	help_repository_url[0] = 0;
}

#endif

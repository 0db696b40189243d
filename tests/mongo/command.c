/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command URI JSON: runs a command on the database that the URI names, as an
 * administrator would, and prints the reply. Exit 1 if the server says no.
 */
#include <mongoc/mongoc.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	mongoc_uri_t *uri;
	mongoc_client_t *client;
	bson_t *command, reply;
	bson_error_t e;
	char *text;
	bool ok;

	if (argc != 3)
		return 2;
	mongoc_init();
	uri = mongoc_uri_new(argv[1]);
	client = uri ? mongoc_client_new_from_uri(uri) : NULL;
	command = bson_new_from_json((const uint8_t *)argv[2], -1, &e);
	if (!client || !command)
		return 2;
	ok = mongoc_client_command_simple(client, mongoc_uri_get_database(uri),
		command, NULL, &reply, &e);
	text = ok ? bson_as_relaxed_extended_json(&reply, NULL) : NULL;
	if (text)
		puts(text);
	else
		fprintf(stderr, "%s\n", e.message);
	bson_free(text);
	bson_destroy(&reply);
	bson_destroy(command);
	mongoc_client_destroy(client);
	mongoc_uri_destroy(uri);
	mongoc_cleanup();
	return ok ? 0 : 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmongoc counts in shared memory from the moment it is loaded, before
 * main(): a file in /dev/shm for each process, which stays when that is killed,
 * and a warning on stderr when a process gets the id of one that was. It asks
 * its environment whether it may, earlier than any code of ours could set that.
 * So the question is answered here, and all others as ever.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((visibility("default"))) char *getenv(const char *name)
{
	size_t len = strlen(name);

	if (strcmp(name, "MONGOC_DISABLE_SHM") == 0)
		return (char *)(uintptr_t) "1";
	for (char **e = environ; e && *e; e++)
		if (strncmp(*e, name, len) == 0 && (*e)[len] == '=')
			return *e + len + 1;
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/json.h"

#include <errno.h>
#include <stdio.h>

#include "src/log.h"
#include "src/text.h"

void json_add_text(json_t *object, const char *name, const char *text)
{
	json_object_set_new(object, name, json_string(text));
}

void json_add_count(json_t *object, const char *name, uint64_t value)
{
	json_object_set_new(object, name, json_integer((json_int_t)value));
}

void json_add_time(json_t *object, const char *name, int64_t seconds)
{
	char text[32];

	json_add_text(object, name, time_text(seconds, text));
}

void json_add_uuid(json_t *object, const char *name, const struct uuid *u)
{
	char text[UUID_TEXT];

	json_add_text(object, name, uuid_text(u, text));
}

int json_finish(json_t *object, char **ret)
{
	scoped(freep) char *text = json_dumps(object, JSON_INDENT(2));
	char *line;

	json_decref(object);
	if (!text || asprintf(&line, "%s\n", text) < 0)
		return fail(ENOMEM, "json: %m");
	*ret = line;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "tools/boot_show.h"

#include <errno.h>
#include <string.h>

#include "src/exit.h"
#include "src/log.h"
#include "src/url.h"
#include "tools/json.h"

static json_t *summary(const struct boot_shown *s)
{
	return json_pack("{s:s, s:s, s:o, s:s, s:o, s:b}", "type", "summary",
		"verb", "boot", "machine", json_text(s->text), "format",
		s->vm->format, "mount", json_text(s->mount), "mounted",
		(int)!s->makes_mount);
}

int boot_show_domain(const struct boot_shown *s)
{
	scoped(freep) char *text = NULL;
	json_t *json;
	size_t len;
	FILE *to;

	if (!s->cli->json) {
		vm_print_domain(stdout, s->vm);
		return EXIT_OK;
	}
	to = open_memstream(&text, &len);
	if (!to)
		return fail(ENOMEM, "boot: %m");
	vm_print_domain(to, s->vm);
	if (fclose(to) != 0)
		cli_no_memory();
	json = summary(s);
	json_object_set_new(json, "domain", json_text(text));
	json_line(stdout, json);
	return EXIT_OK;
}

static int print_line(const char *const *line)
{
	struct words words;
	int r = words_make(line, &words);

	if (r < 0)
		return r;
	words_print(stdout, &words);
	words_fini(&words);
	return 0;
}

/*
 * What goes before it and behind it where a mount is made for it. A location
 * that has a password in it is not shown.
 */
static int print_script(const struct boot_shown *s, const struct words *command)
{
	scoped(freep) char *public = url_public(s->url);
	bool is_public = public && strcmp(public, s->url) == 0;
	const char *const make[] = { "mkdir", s->mount, NULL };
	const char *const mount[] = { "hivefs", "mount",
		is_public ? s->url : s->mount, is_public ? s->mount : NULL,
		NULL };
	const char *const unmount[] = { "fusermount3", "-u", s->mount, NULL };
	const char *const remove[] = { "rmdir", s->mount, NULL };
	bool ours = s->makes_mount;
	int r = ours ? print_line(make) : 0;

	if (r == 0 && ours)
		r = print_line(mount);
	words_print(stdout, command);
	if (r == 0 && ours)
		r = print_line(unmount);
	return r == 0 && ours ? print_line(remove) : r;
}

int boot_show_command(const struct boot_shown *s, const struct words *command)
{
	json_t *json, *words;

	if (!s->cli->json)
		return print_script(s, command);
	words = json_array();
	for (size_t i = 0; i < command->n; i++)
		json_array_append_new(words, json_text(command->v[i]));
	json = summary(s);
	json_object_set_new(json, "command", words);
	json_line(stdout, json);
	return EXIT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "tools/boot_test.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "repo/location.h"
#include "src/exit.h"
#include "src/log.h"
#include "src/vec.h"
#include "tools/child.h"
#include "tools/json.h"

struct words vec(const char *);

/* The last object that FD gives; owned, NULL if there is none. */
static json_t *last_object(int fd)
{
	FILE *in = fdopen(fd, "r");
	scoped(freep) char *line = NULL;
	json_t *last = NULL;
	size_t cap = 0;

	if (!in) {
		close(fd);
		return NULL;
	}
	while (getline(&line, &cap, in) > 0) {
		json_decref(last);
		last = json_loads(line, 0, NULL);
	}
	fclose(in);
	return last;
}

static int command(
	const struct boot_test *test, const char *seconds, struct words *ret)
{
	const char *const words[] = { CHILD_SELF, "boot", "--headless",
		"--json", "--until", test->until, test->address,
		test->timeout ? "--timeout" : NULL, seconds };
	int r = 0;

	for (size_t i = 0; r == 0 && i < 9 && words[i]; i++)
		r = vec_add(ret, words[i]);
	for (size_t i = 0; r == 0 && test->more[i]; i++)
		r = vec_add(ret, test->more[i]);
	if (r == 0)
		r = vec_add(ret, NULL);
	return r < 0 ? fail(ENOMEM, "boot: %m") : 0;
}

static void say_message(const char *line)
{
	json_t *o = json_loads(line, 0, NULL);
	const char *level = json_string_value(json_object_get(o, "level"));
	const char *text = json_string_value(json_object_get(o, "message"));

	if (!text)
		fputs(line, stderr);
	else if (!level || strcmp(level, "error") == 0)
		log_error("%s", text);
	else if (strcmp(level, "warning") == 0)
		log_warn("%s", text);
	else
		log_info("%s", text);
	json_decref(o);
}

/* What it said in JSON goes to people: as we say things. Takes FD. */
static void say_messages(int fd)
{
	FILE *in = fdopen(fd, "r");
	scoped(freep) char *line = NULL;
	size_t cap = 0;

	if (!in) {
		close(fd);
		return;
	}
	rewind(in);
	while (getline(&line, &cap, in) > 0)
		say_message(line);
	fclose(in);
}

static int run_boot(
	const struct cli *c, const struct boot_test *test, json_t **ret)
{
	struct words words = { 0 };
	char seconds[16];
	int ends[2], r, errors = -1;
	pid_t pid;

	snprintf(seconds, sizeof(seconds), "%u", test->timeout);
	r = command(test, seconds, &words);
	if (r == 0 && pipe2(ends, O_CLOEXEC) != 0)
		r = fail(errno, "pipe: %m");
	if (r < 0) {
		vec_fini(&words);
		return r;
	}
	if (!c->json)
		errors = memfd_create("messages", MFD_CLOEXEC);
	r = child_start(
		words.v, ends[1], errors < 0 ? STDERR_FILENO : errors, &pid);
	vec_fini(&words);
	close(ends[1]);
	if (r == 0) {
		*ret = last_object(ends[0]);
		r = child_wait(pid);
	} else {
		close(ends[0]);
	}
	if (errors >= 0)
		say_messages(errors);
	return r;
}

static void say(const struct cli *c, json_t *result)
{
	if (c->json) {
		json_object_set_new(result, "type", json_string("boot"));
		json_object_del(result, "verb");
		json_line(stdout, json_incref(result));
	} else if (!c->quiet && json_is_true(json_object_get(result, "up"))) {
		printf("%s: up after %.1f s: %s\n",
			json_string_value(json_object_get(result, "machine")),
			json_real_value(json_object_get(result, "seconds")),
			json_string_value(json_object_get(result, "line")));
	}
}

int boot_test(const struct cli *c, const struct boot_test *test, bool *ret_up)
{
	scoped(freep) char *url = NULL;
	json_t *result = NULL;
	int r = repo_location(c->repo, &url);

	if (r < 0)
		return r;
	/* not on a command line: a password may be in it */
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the only thread */
	if (setenv("HIVEFS_REPO", url, 1) != 0)
		return fail(ENOMEM, "boot: %m");
	r = run_boot(c, test, &result);
	/* one that did not come up has said so, and why */
	if (json_is_boolean(json_object_get(result, "up"))) {
		*ret_up = json_is_true(json_object_get(result, "up"));
		say(c, result);
		r = EXIT_OK;
	} else if (r == EXIT_OK) {
		r = EXIT_ERROR;
	}
	json_decref(result);
	return r;
}

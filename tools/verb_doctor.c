/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "repo/location.h"
#include "repo/probe.h"
#include "src/exit.h"
#include "src/log.h"
#include "src/text.h"
#include "src/url.h"
#include "tools/host.h"
#include "tools/json.h"
#include "tools/say.h"
#include "tools/verb.h"

struct options {
	bool store;
};

static const struct cli_option options[] = {
	{ "store", 0, CLI_FLAG, offsetof(struct options, store),
		.help = "the repository alone, not what mounts and boots need "
			"of this host" },
	{ 0 },
};

struct run {
	const struct cli *cli;
	unsigned n[PROBE_FAILED + 1];
};

static void say(
	void *arg, const char *check, enum probe_grade grade, const char *text)
{
	static const char *const names[] = {
		[PROBE_OK] = "ok",
		[PROBE_WARNING] = "warning",
		[PROBE_FAILED] = "failed",
	};
	struct run *run = arg;

	run->n[grade]++;
	if (run->cli->json)
		json_line(stdout,
			json_pack("{s:s, s:s, s:s, s:o}", "type", "check",
				"check", check, "result", names[grade],
				"message", json_text(text)));
	else if (!run->cli->quiet || grade != PROBE_OK)
		say_line(stdout, "%-8s %s: %s",
			grade == PROBE_FAILED ? "FAILED" : names[grade], check,
			text);
}

static void print_summary(const struct run *run, const char *url)
{
	scoped(freep) char *public = url_public(url);
	const unsigned *n = run->n;

	if (run->cli->json)
		json_line(stdout,
			json_pack("{s:s, s:s, s:o, s:i, s:i, s:i}", "type",
				"summary", "verb", "doctor", "repository",
				json_text(public ? public : ""), "ok",
				(int)n[PROBE_OK], "warnings",
				(int)n[PROBE_WARNING], "failed",
				(int)n[PROBE_FAILED]));
	else if (!run->cli->quiet)
		printf("%u ok, %u warning%s, %u failed\n", n[PROBE_OK],
			n[PROBE_WARNING], plural(n[PROBE_WARNING]),
			n[PROBE_FAILED]);
}

static int run(struct cli *c)
{
	const struct options *o = c->options;
	struct run run = { .cli = c };
	const struct probe p = { .say = say, .arg = &run };
	scoped(freep) char *url = NULL;
	int r = repo_location(c->repo, &url);

	if (r < 0)
		return r;
	r = probe_repository(&p, url);
	if (!o->store)
		host_probe(&p);
	print_summary(&run, url);
	if (r < 0)
		return r;
	return run.n[PROBE_FAILED]    ? EXIT_ERROR
	       : run.n[PROBE_WARNING] ? EXIT_WARNINGS
				      : EXIT_OK;
}

const struct verb verb_doctor = {
	.name = "doctor",
	.operands = "",
	.summary = "Check what hivefs needs of the store and of this host",
	.text = "A line for each check: ok, warning or FAILED, and what to do. "
		"Exit code 0 if all\nis ok, 3 if there are warnings, 1 if "
		"something failed.",
	.options = options,
	.options_size = sizeof(struct options),
	.run = run,
};

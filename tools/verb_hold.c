/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "repo/address.h"
#include "repo/label.h"
#include "src/exit.h"
#include "src/log.h"
#include "src/text.h"
#include "tools/json.h"
#include "tools/verb.h"

struct options {
	const char *until;
};

static const struct cli_option options[] = {
	{ "until", 0, CLI_TEXT, offsetof(struct options, until), .arg = "TIME",
		.help = "as 2027-01-31T00:00:00Z or 2027-01-31, or how long "
			"from now: 30d, 8w, 7y" },
	{ 0 },
};

static int parse_until(struct cli *c, int64_t *ret)
{
	const struct options *o = c->options;
	char midnight[64];
	const char *end;
	int64_t span;

	if (!o->until)
		return cli_usage(c, "hold: say until when, with --until");
	snprintf(midnight, sizeof(midnight), "%.20sT00:00:00Z", o->until);
	if (duration_parse(o->until, &span) == 0)
		*ret = time(NULL) + span;
	else if ((time_parse(o->until, ret, &end) < 0 || *end) &&
		 (time_parse(midnight, ret, &end) < 0 || *end))
		return cli_usage(c,
			"--until: '%s' is neither a time as "
			"2027-01-31T00:00:00Z nor a span as 30d",
			o->until);
	if (*ret <= time(NULL))
		return cli_usage(c, "--until: '%s' is past", o->until);
	return EXIT_OK;
}

static int hold_one(
	struct cli *c, struct repo *r, const char *text, int64_t until)
{
	scoped(freep) char *address = NULL;
	struct address a;
	char when[32];
	int err = address_resolve(r, text, &a);

	if (err < 0)
		return err;
	err = a.disk ? cli_usage(c,
			       "%s: names one disk, but a point is held "
			       "as a whole",
			       text)
		     : point_hold(r, &a.point.id, until);
	if (err == -ENOENT)
		err = fail(ENOENT, "%s: was removed meanwhile", text);
	address = cli_address(r, &a.point);
	address_fini(&a);
	if (err == 0 && c->json)
		json_line(stdout,
			json_pack("{s:s, s:s, s:o}", "type", "held", "address",
				address, "until", json_time(until)));
	else if (err == 0 && !c->quiet)
		printf("%s: held until %s\n", address, time_text(until, when));
	return err;
}

static int run(struct cli *c)
{
	scoped(repo_closep) struct repo *repo = NULL;
	int64_t until;
	int r = parse_until(c, &until);

	if (r == EXIT_OK)
		r = cli_open(c, 0, &repo);
	for (unsigned i = 0; r == 0 && i < c->n; i++)
		r = hold_one(c, repo, c->operands[i], until);
	if (r == 0 && c->json)
		json_line(stdout,
			json_pack("{s:s, s:s, s:I}", "type", "summary", "verb",
				"hold", "held", (json_int_t)c->n));
	return r;
}

const struct verb verb_hold = {
	.name = "hold",
	.operands = "ADDRESS...",
	.complete = "address",
	.min = 1,
	.max = 1000,
	.summary = "Keep recovery points from being removed until a time",
	.text = "Before that time nothing removes them, not even with force, "
		"and the time can only\nbe put off.",
	.options = options,
	.options_size = sizeof(struct options),
	.run = run,
};

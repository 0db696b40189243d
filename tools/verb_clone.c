/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "repo/address.h"
#include "src/exit.h"
#include "src/log.h"
#include "src/text.h"
#include "tools/clone_arg.h"
#include "tools/json.h"
#include "tools/verb.h"

static void print(struct cli *c, struct repo *repo, const struct point *p,
	const struct clone *clone)
{
	scoped(freep) char *address = cli_address(repo, p);
	json_t *o;

	if (c->json) {
		o = clone_arg_json(repo, clone);
		json_object_set_new(o, "type", json_string("summary"));
		json_object_set_new(o, "verb", json_string("clone"));
		json_object_set_new(o, "address", json_string(address));
		json_line(stdout, o);
	} else if (!c->quiet) {
		printf("%s: new clone of %s\n", clone->name, address);
	}
}

static int make(struct cli *c, struct repo *repo, const struct address *a)
{
	const char *name = c->operands[1];
	struct clone clone;
	int r;

	if (a->disk)
		return cli_usage(c,
			"%s: names one disk, but a clone is of all that its "
			"point has",
			c->operands[0]);
	r = clone_fork(repo, &a->point, name, &clone);
	if (r == -EEXIST)
		return fail(EEXIST,
			"%s: there is a clone of this name already; hivefs "
			"clones lists them",
			name);
	if (r == -ENOENT)
		return fail(ENOENT, "%s: was removed just now", c->operands[0]);
	if (r < 0)
		return r;
	print(c, repo, &a->point, &clone);
	clone_fini(&clone);
	return EXIT_OK;
}

static int run(struct cli *c)
{
	scoped(repo_closep) struct repo *repo = NULL;
	struct address a;
	int r;

	if (!name_ok(c->operands[1]))
		return cli_usage(c,
			"'%s': not a clone's name (letters, digits, dot, dash, "
			"underscore)",
			c->operands[1]);
	r = cli_open(c, 0, &repo);
	if (r == 0)
		r = address_resolve(repo, c->operands[0], &a);
	if (r < 0)
		return r;
	r = make(c, repo, &a);
	address_fini(&a);
	return r;
}

const struct verb verb_clone = {
	.name = "clone",
	.operands = "ADDRESS NAME",
	.complete = "address none",
	.min = 2,
	.max = 2,
	.summary = "Branch a recovery point: disks that can be written to",
	.text = "The point never changes, and the clone takes space only for "
		"what is written to it.\nA mount shows its disks as "
		"clones/NAME/DISK.img and so on.",
	.run = run,
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs that mark points with words: tag, untag and bookmark. A bookmark is
 * a tag with a # before it, of which a machine has one.
 */
#include <errno.h>
#include <string.h>

#include "repo/address.h"
#include "repo/bookmark.h"
#include "src/exit.h"
#include "src/log.h"
#include "src/text.h"
#include "tools/json.h"
#include "tools/verb.h"

struct change {
	char *const *marks;
	size_t n;
	bool take;
	bool changed;
};

static int change_marks(void *arg, struct label *l)
{
	struct change *ch = arg;

	ch->changed = false;
	if (l->removed)
		return -ENOENT;
	for (size_t i = 0; i < ch->n; i++) {
		int r = ch->take ? label_take(l, ch->marks[i])
				 : label_add(l, ch->marks[i]);

		if (r < 0)
			return r;
		ch->changed |= r > 0;
	}
	return ch->changed ? 0 : 1;
}

/* 0 also if nothing had to be changed. */
static int mark(struct repo *r, const struct point_id *id, struct change *ch)
{
	int err = label_update(r, id, change_marks, ch);

	return err == 1 ? 0 : err;
}

static int resolve(
	struct cli *c, struct repo *r, const char *text, struct address *ret)
{
	int err = address_resolve(r, text, ret);

	if (err < 0 || !ret->disk)
		return err;
	address_fini(ret);
	return cli_usage(
		c, "%s: names one disk, but marks are of points", text);
}

static int report(struct cli *c, struct repo *r, const struct point *p)
{
	scoped(freep) char *address = cli_address(r, p);
	struct label l;
	int err = label_get(r, &p->id, &l);

	if (err < 0)
		return err;
	if (c->json)
		json_line(
			stdout, json_pack("{s:s, s:s, s:s, s:s}", "type",
					"summary", "verb", c->verb->name,
					"address", address, "marks", l.marks));
	else if (!c->quiet)
		printf("%s: %s\n", address,
			l.marks[0] ? l.marks : "no tag, no bookmark");
	return 0;
}

static int run_tags(struct cli *c, bool take)
{
	scoped(repo_closep) struct repo *repo = NULL;
	struct change ch = {
		.marks = c->operands + 1, .n = c->n - 1, .take = take
	};
	struct address a;
	int r;

	for (unsigned i = 1; i < c->n; i++)
		if (!name_ok(c->operands[i]))
			return cli_usage(
				c, "'%s' is no name for a tag", c->operands[i]);
	r = cli_open(c, 0, &repo);
	if (r == 0)
		r = resolve(c, repo, c->operands[0], &a);
	if (r != 0)
		return r;
	r = mark(repo, &a.point.id, &ch);
	if (r == -ENOENT)
		r = fail(ENOENT, "%s: was removed meanwhile", c->operands[0]);
	if (r == 0)
		r = report(c, repo, &a.point);
	address_fini(&a);
	return r;
}

static int run_tag(struct cli *c)
{
	return run_tags(c, false);
}

static int run_untag(struct cli *c)
{
	return run_tags(c, true);
}

struct options {
	bool remove;
};

static const struct cli_option bookmark_options[] = {
	{ "remove", 0, CLI_FLAG, offsetof(struct options, remove),
		.help = "take it away" },
	{ 0 },
};

/* First where it goes to, then away from where it was: it is always there. */
static int set_bookmark(
	struct repo *r, const struct point *p, char *name, bool remove)
{
	struct change ch = { .marks = &name, .n = 1, .take = remove };
	int err = mark(r, &p->id, &ch);

	if (err == 0 && !remove)
		err = bookmark_take(r, &p->id, name);
	return err == -EBADMSG ? 0 : err;
}

static int run_bookmark(struct cli *c)
{
	const struct options *o = c->options;
	scoped(repo_closep) struct repo *repo = NULL;
	char name[KEY_MAX + 2];
	struct address a;
	int r;

	if (!name_ok(c->operands[1]))
		return cli_usage(
			c, "'%s' is no name for a bookmark", c->operands[1]);
	snprintf(name, sizeof(name), "#%s", c->operands[1]);
	r = cli_open(c, 0, &repo);
	if (r == 0)
		r = resolve(c, repo, c->operands[0], &a);
	if (r != 0)
		return r;
	r = set_bookmark(repo, &a.point, name, o->remove);
	if (r == -ENOENT)
		r = fail(ENOENT, "%s: was removed meanwhile", c->operands[0]);
	if (r == 0)
		r = report(c, repo, &a.point);
	address_fini(&a);
	return r;
}

const struct verb verb_tag = {
	.name = "tag",
	.operands = "ADDRESS TAG...",
	.complete = "address none",
	.min = 2,
	.max = 32,
	.summary = "Mark a recovery point with words",
	.text = "hivefs prune can be told to keep points with a tag.",
	.run = run_tag,
};

const struct verb verb_untag = {
	.name = "untag",
	.operands = "ADDRESS TAG...",
	.complete = "address none",
	.min = 2,
	.max = 32,
	.summary = "Take tags away from a recovery point",
	.run = run_untag,
};

const struct verb verb_bookmark = {
	.name = "bookmark",
	.operands = "ADDRESS NAME",
	.complete = "address none",
	.min = 2,
	.max = 2,
	.summary = "Give a recovery point a name of its own",
	.text = "The point is then MACHINE@#NAME, and hivefs prune keeps it. A "
		"name that another\npoint of the machine has moves here.",
	.options = bookmark_options,
	.options_size = sizeof(struct options),
	.run = run_bookmark,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/drop.h"

#include <errno.h>

#include "repo/open_clone.h"
#include "src/log.h"
#include "src/vec.h"
#include "tools/clone_arg.h"

#define CACHE_LEN (16u << 20)

int drop_clone(const struct cli *cli, struct repo *r, struct clone *c)
{
	struct stream_owner us = clone_arg_us(cli);
	scoped(cache_freep) struct cache *cache = NULL;
	struct open_clone *open;
	int err = cache_new(r, CACHE_LEN, &cache);

	if (err == 0)
		err = open_clone_take(cache, &c->id, &us, &open);
	if (err == 0)
		return open_clone_discard(open);
	/* nobody else can open it either then; but it can be dropped */
	if (err == -EBADMSG || err == -ENOSPC)
		err = clone_discard(r, c);
	return err;
}

struct abandoned {
	struct vec(struct uuid) ids;
};

static int visit(void *arg, const struct clone *c)
{
	struct abandoned *all = arg;

	if (clone_is_abandoned(c) && vec_add(&all->ids, c->id) < 0)
		cli_no_memory();
	return 0;
}

static void drop_one(
	const struct cli *cli, struct repo *r, const struct uuid *id)
{
	struct stream_owner owner;
	struct clone c;
	int err = clone_get(r, id, &c);

	if (err < 0)
		return;
	if (clone_arg_wait(r, &c, &owner) == -ENOENT) {
		err = drop_clone(cli, r, &c);
		if (err == 0)
			log_info("%s: discarded: it was temporary, and what it "
				 "was for is gone",
				c.name ? c.name : "clone");
		else if (err != -ENOENT)
			log_warn("%s: a temporary clone was left behind and "
				 "could not be discarded",
				c.name ? c.name : "clone");
	}
	clone_fini(&c);
}

void drop_abandoned(const struct cli *cli, struct repo *r)
{
	struct abandoned all = { 0 };

	if (clone_list(r, visit, &all) < 0)
		log_debug("boot", "clones: not all could be listed");
	for (size_t i = 0; i < all.ids.n; i++)
		drop_one(cli, r, &all.ids.v[i]);
	vec_fini(&all.ids);
}

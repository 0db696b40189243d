/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "tools/disk_arg.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/log.h"
#include "src/text.h"
#include "tools/cli.h"
#include "tools/clone_arg.h"

/* The disks of a clone, for all that wants to know how many and how large. */
static int take_disks(struct disk_arg *a)
{
	struct point *p = &a->address.point;

	p->machine = strdup(a->clone.machine);
	if (!p->machine)
		return fail(ENOMEM, "%s: %m", a->clone.name);
	for (size_t i = 0; i < a->clone.disks.n; i++) {
		const struct clone_disk *from = &a->clone.disks.v[i];
		struct point_disk d = { .name = strdup(from->name),
			.size = from->size,
			.sector_size = from->sector_size,
			.root = from->root,
			.stats.data = from->data };

		if (!d.name || vec_add(&p->disks, d) < 0) {
			free(d.name);
			return fail(ENOMEM, "%s: %m", a->clone.name);
		}
	}
	return 0;
}

/* CLONE or CLONE/DISK; -ENOENT, quietly, if it is no clone. */
static int resolve_clone(struct disk_arg *a, const char *text)
{
	scoped(freep) char *name = strndup(text, strcspn(text, "/"));
	const char *slash = strchr(text, '/');
	struct stream_owner owner;
	struct uuid id;
	int r;

	if (!name)
		return fail(ENOMEM, "%s: %m", text);
	if (!name_ok(name))
		return -ENOENT;
	id = clone_named_id(name);
	r = clone_get(a->repo, &id, &a->clone);
	if (r < 0)
		return r;
	r = clone_arg_wait(a->repo, &a->clone, &owner);
	if (r == 0)
		return clone_arg_busy(name, &owner);
	/* it may have been folded meanwhile */
	clone_fini(&a->clone);
	if (r == -ENOENT)
		r = clone_get(a->repo, &id, &a->clone);
	if (r == 0)
		r = take_disks(a);
	if (r == 0 && slash) {
		a->address.disk = point_disk(&a->address.point, slash + 1);
		if (!a->address.disk)
			r = fail(
				EINVAL, "%s: the clone has no such disk", text);
	}
	return r;
}

int disk_arg_resolve(struct repo *r, const char *text, struct disk_arg *ret)
{
	int err;

	*ret = (struct disk_arg){ .repo = r };
	err = resolve_clone(ret, text);
	return err == -ENOENT ? address_resolve(r, text, &ret->address) : err;
}

void disk_arg_fini(struct disk_arg *a)
{
	clone_fini(&a->clone);
	address_fini(&a->address);
}

char *disk_arg_text(const struct disk_arg *a)
{
	char *text = a->clone.name ? strdup(a->clone.name)
				   : cli_address(a->repo, &a->address.point);

	if (!text)
		cli_no_memory();
	return text;
}

/* TEXT with the disk in it, as errors name it: web/disk0@TIME; owned. */
static char *disk_text(const char *text, const struct point_disk *d)
{
	size_t machine = strcspn(text, "@");
	char *ret;

	if (asprintf(&ret, "%.*s/%s%s", (int)machine, text, d->name,
		    text + machine) < 0)
		cli_no_memory();
	return ret;
}

int disk_arg_open(const struct disk_arg *a, struct cache *c,
	const struct point_disk *d, struct disk **ret_disk,
	struct live **ret_live)
{
	scoped(freep) char *text = disk_arg_text(a);
	scoped(freep) char *name = disk_text(text, d);

	if (!a->clone.name)
		return disk_open(
			c, name, &d->root, d->size, d->sector_size, ret_disk);
	log_hold();
	return clone_judge(a->repo, &a->clone,
		live_open(c, name,
			&a->clone.disks.v[d - a->address.point.disks.v], NULL,
			ret_live));
}

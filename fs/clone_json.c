/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/clone_json.h"

#include "fs/json.h"

static json_t *of_disk(const struct clone_disk *d)
{
	json_t *disk = json_object();

	json_add_text(disk, "name", d->name);
	json_add_count(disk, "size", d->size);
	json_add_count(disk, "sector_size", d->sector_size);
	return disk;
}

void clone_json_info(json_t *object, const struct branch_info *info)
{
	const struct fold_stats *f = &info->folded;
	json_t *folded = json_object();

	json_add_count(object, "handles", info->handles);
	json_object_set_new(object, "written", json_boolean(info->written));
	json_add_count(object, "unfolded_bytes", info->load.stream_bytes);
	json_add_count(object, "memory_bytes", info->load.memory);
	json_add_count(object, "folding_windows", info->folding);
	json_add_count(object, "folding_done", info->folding_done);
	json_add_count(folded, "windows", f->windows);
	json_add_count(folded, "carried", f->carried);
	json_add_count(folded, "touched", f->touched);
	json_add_count(folded, "read", f->read);
	json_add_count(folded, "new", f->fresh);
	json_add_count(folded, "stored", f->stored);
	json_object_set_new(object, "folded", folded);
}

int clone_json(const struct clone *c, char **ret)
{
	scoped(freep) char *address = clone_text(c);
	json_t *object = json_object(), *disks = json_array();
	char alias[ALIAS_LEN + 1];

	json_add_text(object, "type", "clone");
	json_add_text(object, "clone", address);
	if (c->name)
		json_add_text(object, "name", c->name);
	else
		json_object_set_new(object, "name", json_null());
	json_add_uuid(object, "id", &c->id);
	json_add_text(object, "machine", c->machine);
	json_add_uuid(object, "machine_uuid", &c->base.machine);
	json_add_text(object, "base", point_alias(&c->base, alias));
	json_add_time(object, "base_time", c->base.time);
	json_add_time(object, "created", c->created);
	for (size_t i = 0; i < c->disks.n; i++)
		json_array_append_new(disks, of_disk(&c->disks.v[i]));
	json_object_set_new(object, "disks", disks);
	return json_finish(object, ret);
}

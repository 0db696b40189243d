/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/point_json.h"

#include "fs/json.h"
#include "repo/address.h"

static json_t *of_disk(const struct point_disk *d)
{
	const struct disk_stats *s = &d->stats;
	json_t *disk = json_object();
	char root[DIGEST_HEX];

	json_add_text(disk, "name", d->name);
	json_add_count(disk, "size", d->size);
	json_add_count(disk, "sector_size", d->sector_size);
	json_add_count(disk, "read", s->read);
	json_add_count(disk, "data", s->data);
	json_add_count(disk, "new", s->fresh);
	json_add_count(disk, "stored", s->stored);
	json_add_count(disk, "changed", s->changed);
	json_add_count(disk, "lost", s->lost);
	json_add_count(disk, "chunks", s->n_chunks);
	json_add_count(disk, "maps", s->n_maps);
	json_add_text(disk, "root", digest_hex(&d->root, root));
	json_add_text(disk, "source", d->source);
	return disk;
}

static void add_parent(json_t *object, const struct point *p)
{
	char alias[ALIAS_LEN + 1];

	if (p->has_parent) {
		json_add_text(object, "parent", point_alias(&p->parent, alias));
		json_add_time(object, "parent_time", p->parent.time);
	} else {
		json_object_set_new(object, "parent", json_null());
	}
}

static void add_config(json_t *object, const struct machine_config *c)
{
	json_t *config = json_object();

	if (c->memory)
		json_add_count(config, "memory", c->memory);
	if (c->cpus)
		json_add_count(config, "cpus", c->cpus);
	if (c->firmware)
		json_add_text(config, "firmware", firmware_name(c->firmware));
	if (c->bus)
		json_add_text(config, "bus", bus_name(c->bus));
	json_object_set_new(object, "config", config);
}

int point_json(const struct point *p, char **ret)
{
	scoped(freep) char *address = address_text(p);
	json_t *object = json_object(), *disks = json_array();
	char alias[ALIAS_LEN + 1];

	json_add_text(object, "type", "point");
	json_add_text(object, "address", address);
	json_add_text(object, "alias", point_alias(&p->id, alias));
	json_add_uuid(object, "writer", &p->id.writer);
	json_add_text(object, "machine", p->machine);
	json_add_uuid(object, "machine_uuid", &p->id.machine);
	json_add_time(object, "time", p->id.time);
	json_add_time(object, "end", p->end);
	json_add_count(object, "duration_ms", p->duration_ms);
	add_parent(object, p);
	json_add_text(object, "consistency", consistency_name(p->consistency));
	json_add_text(object, "host", p->host);
	json_add_text(object, "version", p->version);
	add_config(object, &p->config);
	for (size_t i = 0; i < p->disks.n; i++)
		json_array_append_new(disks, of_disk(&p->disks.v[i]));
	json_object_set_new(object, "disks", disks);
	return json_finish(object, ret);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/json.h"

#include <string.h>

#include "repo/label.h"
#include "repo/point.h"
#include "src/cleanup.h"
#include "src/log.h"
#include "src/text.h"
#include "tools/cli.h"

void json_line(FILE *to, json_t *object)
{
	/* one call, so that lines of several threads never mix */
	char *text = object ? json_dumps(object,
				      JSON_COMPACT | JSON_REAL_PRECISION(6))
			    : NULL;

	if (text)
		fprintf(to, "%s\n", text);
	else
		fputs("{\"type\":\"message\",\"level\":\"error\","
		      "\"message\":\"out of memory\"}\n",
			to);
	free(text);
	json_decref(object);
}

json_t *json_text(const char *text)
{
	json_t *s = json_string(text);
	scoped(freep) char *copy = NULL;

	if (s)
		return s;
	copy = strdup(text);
	for (char *p = copy; p && *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return copy ? json_string(copy) : NULL;
}

json_t *json_bytes(uint64_t bytes)
{
	return json_integer((json_int_t)bytes);
}

json_t *json_time(int64_t seconds)
{
	char buf[32];

	return json_string(time_text(seconds, buf));
}

bool json_names(const char *path, const char *member, const struct uuid *id)
{
	json_t *o = json_load_file(path, 0, NULL);
	const char *said = json_string_value(json_object_get(o, member));
	char text[UUID_TEXT];
	bool same = said && strcmp(said, uuid_text(id, text)) == 0;

	json_decref(o);
	return same;
}

json_t *json_point_disk(const struct point_disk *d)
{
	const struct disk_stats *s = &d->stats;
	char root[DIGEST_HEX];

	return json_pack("{s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
			 "s:o, s:s, s:o}",
		"name", json_text(d->name), "size", json_bytes(d->size),
		"sector_size", (int)d->sector_size, "read", json_bytes(s->read),
		"data", json_bytes(s->data), "new", json_bytes(s->fresh),
		"stored", json_bytes(s->stored), "changed",
		json_bytes(s->changed), "lost", json_bytes(s->lost), "chunks",
		json_bytes(s->n_chunks), "maps", json_bytes(s->n_maps), "root",
		digest_hex(&d->root, root), "source",
		json_text(d->source ? d->source : ""));
}

static json_t *parent(const struct point *p)
{
	char alias[ALIAS_LEN + 1];

	return p->has_parent ? json_string(point_alias(&p->parent, alias))
			     : json_null();
}

/* Tags or bookmarks; of a label that cannot be read there are none. */
static json_t *marks(const struct label *l, bool bookmarks)
{
	json_t *list = json_array();
	const char *m = l->marks;

	while (*m) {
		size_t len = strcspn(m, " ");
		bool is = *m == '#';

		if (is == bookmarks)
			json_array_append_new(
				list, json_stringn(m + is, len - is));
		m += len + (m[len] == ' ');
	}
	return list;
}

/* Only what is known. */
static json_t *config_json(const struct machine_config *c)
{
	json_t *o = json_object();

	if (c->memory)
		json_object_set_new(o, "memory", json_bytes(c->memory));
	if (c->cpus)
		json_object_set_new(o, "cpus", json_integer(c->cpus));
	if (c->firmware)
		json_object_set_new(
			o, "firmware", json_string(firmware_name(c->firmware)));
	if (c->bus)
		json_object_set_new(o, "bus", json_string(bus_name(c->bus)));
	return o;
}

json_t *json_point(struct repo *r, const struct point *p)
{
	struct label l = { 0 };
	scoped(freep) char *address = cli_address(r, p);
	json_t *disks = json_array();
	char alias[ALIAS_LEN + 1];
	char machine[UUID_TEXT];
	json_t *o;

	for (size_t i = 0; i < p->disks.n; i++)
		json_array_append_new(disks, json_point_disk(&p->disks.v[i]));
	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:o, s:s, "
		      "s:o, s:o, s:o}",
		"type", "point", "address", address, "alias",
		point_alias(&p->id, alias), "machine", p->machine,
		"machine_uuid", uuid_text(&p->id.machine, machine), "time",
		json_time(p->id.time), "end", json_time(p->end), "duration_ms",
		(json_int_t)p->duration_ms, "parent", parent(p), "consistency",
		consistency_name(p->consistency), "host",
		json_text(p->host ? p->host : ""), "version",
		json_text(p->version ? p->version : ""), "disks", disks);
	if (label_get(r, &p->id, &l) < 0)
		l = (struct label){ 0 };
	json_object_set_new(o, "config", config_json(&p->config));
	json_object_set_new(o, "tags", marks(&l, false));
	json_object_set_new(o, "bookmarks", marks(&l, true));
	json_object_set_new(o, "hold_until",
		l.hold_until ? json_time(l.hold_until) : json_null());
	return o;
}

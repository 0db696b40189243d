/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/status.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "fs/clone_json.h"
#include "fs/dir.h"
#include "fs/json.h"
#include "repo/machine.h"
#include "src/log.h"
#include "src/url.h"

struct now {
	int64_t time, uptime;
	struct cache_stats cache;
	struct store_info store;
	uint64_t read_errors;
	uint64_t n_clones; /* that are ours */
	struct live_load load;
	struct fold_stats folded; /* of those that were, too */
};

static void add_load(void *arg, const struct branch_info *info)
{
	struct now *now = arg;

	now->n_clones++;
	now->load.stream_bytes += info->load.stream_bytes;
	now->load.memory += info->load.memory;
	fold_stats_add(&now->folded, &info->folded);
}

static int look(struct fs *fs, struct now *ret)
{
	ret->time = time(NULL);
	ret->uptime = ret->time - fs->tree.started;
	ret->read_errors = atomic_load(&fs->n_read_errors);
	ret->n_clones = 0;
	ret->load = (struct live_load){ 0 };
	ret->folded = branches_folded(&fs->branches);
	branches_list(&fs->branches, add_load, ret);
	cache_stats(fs->cache, &ret->cache);
	return store_info(fs->repo->store, &ret->store);
}

/* There is no point, or the newest one is damaged: older ones are no comfort.
 */
#define AGE_UNKNOWN (-1)

struct machines {
	struct fs *fs;
	int64_t now;
	json_t *array;
	FILE *out;
};

static int machine_json(void *arg, const char *name, const struct uuid *uuid)
{
	struct machines *m = arg;
	json_t *machine = json_object();
	struct newest newest = { 0 };
	int r = dir_newest(&m->fs->tree, uuid, &newest, NULL);
	bool damaged = r == -EBADMSG || newest.slid;

	json_add_text(machine, "name", name);
	json_add_uuid(machine, "uuid", uuid);
	if (r == 0)
		json_add_time(machine, "last_point", newest.id.time);
	json_object_set_new(machine, "last_point_age_seconds",
		json_integer(r == 0 && !damaged ? m->now - newest.id.time
						: AGE_UNKNOWN));
	json_object_set_new(machine, "newest_damaged", json_boolean(damaged));
	json_array_append_new(m->array, machine);
	return r == -ENOENT || r == -EBADMSG ? 0 : r;
}

static void add_clone(void *arg, const struct branch_info *info)
{
	json_t *clones = arg, *clone = json_object();

	json_add_text(clone, "clone", info->text);
	clone_json_info(clone, info);
	json_array_append_new(clones, clone);
}

int status_json(struct fs *fs, char **ret)
{
	scoped(freep) char *url = url_public(fs->repo->url);
	struct machines m = { .fs = fs };
	json_t *object, *part;
	struct now now;
	int r = look(fs, &now);

	if (r < 0)
		return r;
	object = json_object();
	json_add_text(object, "type", "status");
	json_add_text(object, "version", HIVEFS_VERSION);
	json_add_text(object, "repository", url);
	json_add_uuid(object, "uuid", &fs->repo->uuid);
	json_add_text(object, "store", now.store.kind);
	json_add_time(object, "time", now.time);
	json_add_time(object, "mounted", fs->tree.started);
	json_object_set_new(
		object, "read_only", json_boolean(fs->tree.read_only));
	json_object_set_new(object, "uptime_seconds", json_integer(now.uptime));
	json_add_count(object, "bytes", now.store.bytes);
	if (now.store.bytes_free != STORE_FREE_UNKNOWN)
		json_add_count(object, "bytes_free", now.store.bytes_free);
	json_add_count(object, "bytes_dead", now.store.bytes_dead);
	json_add_count(object, "read_errors", now.read_errors);
	part = json_object();
	json_add_count(part, "bytes", now.cache.bytes);
	json_add_count(part, "bound", now.cache.bound);
	json_add_count(part, "hits", now.cache.hits);
	json_add_count(part, "misses", now.cache.misses);
	json_object_set_new(object, "cache", part);
	part = json_array();
	branches_list(&fs->branches, add_clone, part);
	json_object_set_new(object, "clones", part);
	m.array = json_array();
	m.now = now.time;
	json_object_set_new(object, "machines", m.array);
	r = machine_list(fs->repo, machine_json, &m);
	if (r < 0) {
		json_decref(object);
		return r;
	}
	return json_finish(object, ret);
}

static void metric(FILE *out, const char *name, const char *type,
	const char *help, uint64_t value)
{
	fprintf(out,
		"# HELP hivefs_%s %s\n# TYPE hivefs_%s %s\nhivefs_%s %" PRIu64
		"\n",
		name, help, name, type, name, value);
}

/* A machine's name needs no quoting: name_ok(). */
static int time_metric(void *arg, const char *name, const struct uuid *uuid)
{
	struct machines *m = arg;
	struct newest newest;
	int r = dir_newest(&m->fs->tree, uuid, &newest, NULL);

	if (r == 0 || r == -EBADMSG)
		fprintf(m->out,
			"hivefs_last_point_timestamp_seconds{machine=\"%s\"} "
			"%" PRId64 "\n",
			name,
			r == 0 && !newest.slid ? newest.id.time : AGE_UNKNOWN);
	return r == -ENOENT || r == -EBADMSG ? 0 : r;
}

static int print_metrics(struct fs *fs, const struct now *now, FILE *out)
{
	struct machines m = { .fs = fs, .out = out };
	char uuid[UUID_TEXT];

	fprintf(out,
		"# HELP hivefs_info What is mounted, and by which version.\n"
		"# TYPE hivefs_info gauge\n"
		"hivefs_info{version=\"%s\",uuid=\"%s\",store=\"%s\"} 1\n",
		HIVEFS_VERSION, uuid_text(&fs->repo->uuid, uuid),
		now->store.kind);
	metric(out, "mount_start_time_seconds", "gauge",
		"When it was mounted, seconds since 1970.",
		(uint64_t)fs->tree.started);
	metric(out, "store_bytes", "gauge", "Taken by the repository.",
		now->store.bytes);
	if (now->store.bytes_free != STORE_FREE_UNKNOWN)
		metric(out, "store_free_bytes", "gauge",
			"Free where the repository is.", now->store.bytes_free);
	metric(out, "store_dead_bytes", "gauge",
		"Of removed or superseded documents.", now->store.bytes_dead);
	metric(out, "cache_bytes", "gauge", "Decoded data in memory.",
		now->cache.bytes);
	metric(out, "cache_bound_bytes", "gauge", "The most of it.",
		now->cache.bound);
	metric(out, "cache_hits_total", "counter",
		"Chunks and maps found in memory.", now->cache.hits);
	metric(out, "cache_misses_total", "counter",
		"Chunks and maps fetched from the store.", now->cache.misses);
	metric(out, "read_errors_total", "counter",
		"Reads that damage or the store made fail.", now->read_errors);
	metric(out, "open_clones", "gauge",
		"Clones that this mount has for writing.", now->n_clones);
	metric(out, "unfolded_bytes", "gauge",
		"Written to them and not yet in a map.",
		now->load.stream_bytes);
	metric(out, "overlay_bytes", "gauge", "Memory that takes.",
		now->load.memory);
	metric(out, "folded_touched_bytes_total", "counter",
		"Of chunks that were written to, when clones were folded.",
		now->folded.touched);
	metric(out, "folded_read_bytes_total", "counter",
		"Read to cut those anew.", now->folded.read);
	metric(out, "folded_new_bytes_total", "counter",
		"Of chunks that this made.", now->folded.fresh);
	metric(out, "folded_stored_bytes_total", "counter",
		"What those and maps take.", now->folded.stored);
	fputs("# HELP hivefs_last_point_timestamp_seconds "
	      "Newest recovery point of a machine, seconds since 1970; -1 if "
	      "it is damaged.\n"
	      "# TYPE hivefs_last_point_timestamp_seconds gauge\n",
		out);
	return machine_list(fs->repo, time_metric, &m);
}

int status_metrics(struct fs *fs, char **ret)
{
	char *text = NULL;
	size_t len = 0;
	struct now now;
	FILE *out;
	int r = look(fs, &now);

	if (r < 0)
		return r;
	out = open_memstream(&text, &len);
	if (!out)
		return fail(errno, "metrics: %m");
	r = print_metrics(fs, &now, out);
	if (fclose(out) != 0 && r == 0)
		r = fail(ENOMEM, "metrics: %m");
	if (r < 0)
		free(text);
	else
		*ret = text;
	return r;
}

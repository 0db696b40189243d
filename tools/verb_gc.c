/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/gc.h"

#include <errno.h>
#include <inttypes.h>

#include "src/exit.h"
#include "src/log.h"
#include "src/monotonic.h"
#include "src/text.h"
#include "tools/cancel.h"
#include "tools/drop.h"
#include "tools/json.h"
#include "tools/progress.h"
#include "tools/verb.h"

/* A backup says every five seconds that it is alive. */
#define PATIENCE_DEFAULT 300
#define DEAD_MIN (UINT64_C(1) << 20)

struct options {
	bool dry_run;
	const char *memory;
	unsigned patience, threads;
};

static const struct cli_option options[] = {
	{ "dry-run", 0, CLI_FLAG, offsetof(struct options, dry_run),
		.help = "say what would be freed" },
	{ "memory", 0, CLI_TEXT, offsetof(struct options, memory),
		.arg = "SIZE",
		.help = "for the filter of what is in use, 10 to 64 bits a "
			"chunk; "
			"with less, maps are read several times (default: "
			"256M)" },
	{ "patience", 0, CLI_NUMBER, offsetof(struct options, patience),
		.arg = "SECONDS", .min = 1, .max = 86400,
		.help = "how long a backup may be silent before it is given "
			"up (default: 300)" },
	{ "threads", 0, CLI_NUMBER, offsetof(struct options, threads),
		.arg = "N", .min = 1, .max = 256,
		.help = "default: as fits this host" },
	{ 0 },
};

struct run {
	const struct cli *cli;
	struct gc_progress progress;
	bool shown;
};

static void next_phase(void *arg, const char *name)
{
	struct run *run = arg;

	if (run->shown)
		progress_end();
	progress_begin(
		run->cli, name, &run->progress.done, &run->progress.total);
	run->shown = true;
}

/* DEAD: what stays on disk. */
static void print_json(const struct options *o, const struct gc_result *res,
	uint64_t dead, double seconds)
{
	json_t *j = json_pack("{s:s, s:s, s:b, s:f}", "type", "summary", "verb",
		"gc", "dry_run", (int)o->dry_run, "seconds", seconds);
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "generation", res->generation },
		{ "points", res->n_points },
		{ "clones", res->n_clones },
		{ "maps_in_use", res->n_maps },
		{ "points_buried", res->n_buried },
		{ "roots_retired", res->n_retired },
		{ "chunks_removed", res->n_chunks },
		{ "chunk_bytes_removed", res->n_chunk_bytes },
		{ "maps_removed", res->n_map_docs },
		{ "map_bytes_removed", res->n_map_bytes },
		{ "saved", res->n_saved },
		{ "writers_given_up", res->n_given_up },
		{ "streams_removed", res->n_streams },
		{ "segments_removed", res->space.n_removed },
		{ "disk_freed", res->space.freed },
		{ "disk_moved", res->space.moved },
		{ "disk_dead", dead },
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		json_object_set_new(
			j, numbers[i].name, json_bytes(numbers[i].value));
	json_object_set_new(j, "disk_short", json_boolean(res->space.partial));
	json_line(stdout, j);
}

/* A little is nothing to wonder about, unless it is all that was to go. */
static void print_dead(const struct gc_result *res, uint64_t dead)
{
	uint64_t removed = res->n_chunk_bytes + res->n_map_bytes;
	char a[16];

	if (dead >= DEAD_MIN || (dead && removed && res->space.freed == 0))
		printf("%s that nothing needs stays on disk: it lies in "
		       "segments that are more than half\nalive; a gc frees it "
		       "when they are less\n",
			size_text(dead, a));
}

static void print_text(const struct options *o, const struct gc_result *res,
	uint64_t dead, double seconds)
{
	uint64_t bytes = res->n_chunk_bytes + res->n_map_bytes;
	const char *would = o->dry_run ? " would be" : "";
	char a[16], b[16], c[16];

	printf("%" PRIu64 " chunk%s, %" PRIu64 " map%s (%s)%s removed",
		res->n_chunks, plural(res->n_chunks), res->n_map_docs,
		plural(res->n_map_docs), size_text(bytes, a), would);
	if (o->dry_run)
		printf("\n");
	else
		printf("; %s freed on disk in %" PRIu64 " segment%s, after "
		       "moving %s; %.1f s\n",
			size_text(res->space.freed, b), res->space.n_removed,
			plural(res->space.n_removed),
			size_text(res->space.moved, c), seconds);
	if (!o->dry_run && !res->space.partial)
		print_dead(res, dead);
	if (res->n_buried || res->n_retired || res->n_given_up)
		printf("%" PRIu64 " removed point%s, %" PRIu64
		       " old root%s of clones, %" PRIu64
		       " dead backup%s done with\n",
			res->n_buried, plural(res->n_buried), res->n_retired,
			plural(res->n_retired), res->n_given_up,
			plural(res->n_given_up));
}

static int run(struct cli *c)
{
	const struct options *o = c->options;
	scoped(repo_closep) struct repo *repo = NULL;
	struct run run = { .cli = c };
	struct gc_result res = { 0 };
	struct store_info info = { 0 };
	double seconds = monotonic_seconds();
	uint64_t memory = 0;
	int r;

	if (o->memory && (size_parse(o->memory, &memory) < 0 || memory == 0))
		return cli_usage(c, "--memory: '%s' is no size", o->memory);
	r = cli_open(
		c, o->dry_run ? STORE_READ_ONLY : STORE_SPEND_RESERVE, &repo);
	if (r < 0)
		return r;
	if (!o->dry_run)
		drop_abandoned(c, repo);
	cancel_catch(false);
	r = gc(&(struct gc){ .repo = repo,
		       .dry_run = o->dry_run,
		       .memory = memory,
		       .n_threads = o->threads,
		       .patience = o->patience ? o->patience : PATIENCE_DEFAULT,
		       .progress = &run.progress,
		       .phase = next_phase,
		       .arg = &run,
		       .cancel = &cancelled },
		&res);
	if (run.shown)
		progress_end();
	if (r == 0)
		r = store_info(repo->store, &info);
	if (r < 0)
		return r;
	seconds = monotonic_seconds() - seconds;
	if (c->json)
		print_json(o, &res, info.bytes_dead, seconds);
	else if (!c->quiet)
		print_text(o, &res, info.bytes_dead, seconds);
	if (!res.space.partial)
		return EXIT_OK;
	log_warn("%s: there was no space to move what is alive out of segments "
		 "that are mostly dead; free some and run gc again",
		repo->url);
	return EXIT_WARNINGS;
}

const struct verb verb_gc = {
	.name = "gc",
	.operands = "",
	.summary = "Free the space of what no point and no clone needs",
	.text = "Backups, mounts and clones go on meanwhile. It can be stopped "
		"at any moment and run\nagain. If anything cannot be read that "
		"says what is needed, nothing is removed.",
	.options = options,
	.options_size = sizeof(struct options),
	.run = run,
};

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "repo/chunk.h"
#include "src/bytes.h"
#include "src/exit.h"
#include "src/log.h"
#include "src/monotonic.h"
#include "src/text.h"
#include "tools/cancel.h"
#include "tools/disk_arg.h"
#include "tools/json.h"
#include "tools/lost.h"
#include "tools/progress.h"
#include "tools/restore.h"
#include "tools/say.h"
#include "tools/target.h"
#include "tools/verb.h"

#define CACHE_LEN (UINT64_C(256) << 20)

struct options {
	bool overwrite, resume, dry_run, best_effort;
	const char *map;
	unsigned threads;
};

static const struct cli_option options[] = {
	{ "overwrite", 0, CLI_FLAG, offsetof(struct options, overwrite),
		.help = "replace a file that is not empty, or what is on a "
			"device" },
	{ "resume", 0, CLI_FLAG, offsetof(struct options, resume),
		.help = "read what is there first and write only what differs; "
			"continues an interrupted restore" },
	{ "best-effort", 0, CLI_FLAG, offsetof(struct options, best_effort),
		.help = "what is damaged or missing becomes zeroes and is "
			"listed, everything else is restored" },
	{ "damage-map", 0, CLI_TEXT, offsetof(struct options, map),
		.arg = "FILE",
		.help = "with --best-effort: also list it in this file, as "
			"JSON lines" },
	{ "threads", 0, CLI_NUMBER, offsetof(struct options, threads),
		.arg = "N", .min = 1, .max = 256,
		.help = "default: as fits this host" },
	{ "dry-run", 0, CLI_FLAG, offsetof(struct options, dry_run),
		.help = "check everything, write nothing" },
	{ 0 },
};

struct one {
	const struct point_disk *disk;
	char *path; /* owned; NULL: standard output */
	struct target target;
	bool checked; /* target is to be freed */
};

struct job {
	struct cli *cli;
	const struct options *options;
	struct disk_arg what;
	struct one *v;
	size_t n;
	const char *new_directory; /* to be made, or NULL */
	const char *repository;    /* path of an embedded one, or NULL */
	struct cache *cache;
	unsigned n_threads;
	uint64_t size;
	_Atomic uint64_t done, written, total;
	struct lost_ranges lost, damaged;
	double seconds;
};

static bool to_stdout(const struct job *j)
{
	return strcmp(j->cli->operands[1], "-") == 0;
}

/* Which disks: the one that was named, or all of the point's. */
static int choose_disks(struct job *j)
{
	struct point *p = &j->what.address.point;

	j->n = j->what.address.disk ? 1 : p->disks.n;
	j->v = calloc(j->n + 1, sizeof(*j->v));
	if (!j->v)
		return fail(ENOMEM, "%s: %m", p->machine);
	for (size_t i = 0; i < j->n; i++) {
		j->v[i].disk = j->what.address.disk ? j->what.address.disk
						    : &p->disks.v[i];
		j->size += j->v[i].disk->size;
	}
	atomic_store(&j->total, j->size);
	return 0;
}

/* Where to: a name for one disk, a directory for several. */
static int choose_paths(struct job *j)
{
	const char *target = j->cli->operands[1];
	size_t len = strlen(target);
	struct stat st;
	bool there = stat(target, &st) == 0;
	const char *slash = len && target[len - 1] == '/' ? "" : "/";
	bool in_directory =
		j->n > 1 || !*slash || (there && S_ISDIR(st.st_mode));

	if (j->n > 1 && (to_stdout(j) || (there && !S_ISDIR(st.st_mode))))
		return cli_usage(j->cli,
			"%s: has %zu disks, so name one as MACHINE/DISK@WHEN "
			"or give a directory to restore to",
			j->cli->operands[0], j->n);
	if (to_stdout(j))
		return isatty(STDOUT_FILENO)
			       ? cli_usage(j->cli,
					 "standard output is a terminal")
			       : 0;
	if (in_directory && !there)
		j->new_directory = target;
	for (size_t i = 0; i < j->n; i++) {
		int n = in_directory
				? asprintf(&j->v[i].path, "%s%s%s.img", target,
					  slash, j->v[i].disk->name)
				: asprintf(&j->v[i].path, "%s", target);

		if (n < 0) {
			j->v[i].path = NULL;
			return fail(ENOMEM, "%s: %m", target);
		}
	}
	return 0;
}

static int check_all(struct job *j)
{
	struct target_options o = {
		.overwrite = j->options->overwrite,
		.resume = j->options->resume,
		.work = "restore",
		.remedy = "--resume continues it",
		.repository = j->repository,
	};
	int r = 0;

	/* what is not there yet cannot be in the way */
	if (to_stdout(j) || (j->new_directory && j->options->dry_run))
		return 0;
	if (j->new_directory)
		r = target_directory(j->new_directory, j->repository);
	for (size_t i = 0; i < j->n; i++)
		o.data += j->v[i].disk->stats.data;
	for (size_t i = 0; i < j->n && r == 0; i++) {
		j->v[i].checked = true;
		r = target_check(
			j->v[i].path, j->v[i].disk->size, &o, &j->v[i].target);
	}
	return r;
}

static int restore_disk(struct job *j, struct one *one)
{
	scoped(disk_closep) struct disk *disk = NULL;
	scoped(live_closep) struct live *live = NULL;
	const struct point_disk *d = one->disk;
	struct restore restore = {
		.name = d->name,
		.n_threads = j->n_threads,
		.cancel = &cancelled,
		.done = &j->done,
		.written = &j->written,
		.lost = &j->lost,
		.damaged = j->options->best_effort ? &j->damaged : NULL,
	};
	int r;

	r = disk_arg_open(&j->what, j->cache, d, &disk, &live);
	if (r < 0)
		return r;
	restore.disk = disk;
	restore.live = live;
	if (to_stdout(j)) {
		r = restore_to_fd(&restore, STDOUT_FILENO, "standard output");
	} else {
		r = target_prepare(&one->target, d->size);
		if (r < 0)
			return r;
		r = restore_to_blk(&restore, one->target.blk, one->target.fresh,
			j->options->resume);
	}
	/* what the point names and is not there is damage, too */
	return r == -ENOENT ? -EBADMSG : r;
}

/* A pipe has nothing to be flushed; a file that stdout was sent to has. */
static int finish_stdout(void)
{
	struct stat st;

	if (fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode) &&
		fsync(STDOUT_FILENO) != 0)
		return fail(errno, "standard output: fsync: %m");
	return 0;
}

static int restore_all(struct job *j)
{
	scoped(freep) char *text = disk_arg_text(&j->what);
	double begun = monotonic_seconds();
	int r = 0;

	progress_begin(j->cli, j->cli->operands[0], &j->done, &j->total);
	for (size_t i = 0; i < j->n && r == 0; i++)
		r = restore_disk(j, &j->v[i]);
	if (r == -ESTALE)
		r = fail(
			EBUSY, "%s: was written to and folded meanwhile", text);
	for (size_t i = 0; i < j->n && r == 0; i++)
		r = to_stdout(j) ? finish_stdout()
				 : target_finish(&j->v[i].target);
	progress_end();
	j->seconds = monotonic_seconds() - begun;
	return r;
}

static void print_json(const struct job *j, const char *address)
{
	json_t *o = json_pack("{s:s, s:s, s:b, s:s, s:o, s:I}", "type",
		"summary", "verb", "restore", "dry_run",
		(int)j->options->dry_run, "address", address, "target",
		json_text(j->cli->operands[1]), "disks", (json_int_t)j->n);
	json_object_set_new(o, "size", json_bytes(j->size));
	json_object_set_new(o, "written", json_bytes(j->written));
	json_object_set_new(o, "lost", json_bytes(lost_sum(&j->lost)));
	json_object_set_new(o, "damaged", json_bytes(lost_sum(&j->damaged)));
	json_object_set_new(o, "seconds", json_real(j->seconds));
	json_line(to_stdout(j) ? stderr : stdout, o);
}

/* "a/root.img and a/data.img"; owned. */
static char *places(const struct job *j)
{
	char *text = NULL, *before;
	int n = 0;

	if (to_stdout(j))
		n = asprintf(&text, "standard output");
	for (size_t i = 0; i < j->n && !to_stdout(j) && n >= 0; i++) {
		before = text;
		n = asprintf(&text, "%s%s%s", before ? before : "",
			!before        ? ""
			: i + 1 < j->n ? ", "
				       : " and ",
			j->v[i].path);
		free(before);
	}
	if (n < 0)
		cli_no_memory();
	return text;
}

static void print_text(const struct job *j, const char *address)
{
	FILE *to = to_stdout(j) ? stderr : stdout;
	scoped(freep) char *where = places(j);
	char size[16], written[16], rate[16];

	if (j->options->dry_run)
		say_line(to,
			"%s: %s can be restored to %s; nothing was written",
			address, size_text(j->size, size), where);
	else
		say_line(to,
			"%s: restored to %s: %s, of which %s had to be "
			"written, in %.1f s (%s/s)",
			address, where, size_text(j->size, size),
			size_text(j->written, written), j->seconds,
			size_text((uint64_t)((double)j->written /
					     MAX_OF(j->seconds, 1e-3)),
				rate));
}

static int write_map(const struct job *j)
{
	const char *path = j->options->map;
	FILE *f;

	if (!path)
		return 0;
	f = fopen(path, "we");
	if (!f)
		return fail(errno, "%s: %m", path);
	lost_print(&j->damaged, "damaged", f, true);
	if (fflush(f) != 0 || fsync(fileno(f)) != 0) {
		int err = errno;

		fclose(f);
		return fail(err, "%s: %m", path);
	}
	return fclose(f) == 0 ? 0 : fail(errno, "%s: %m", path);
}

/* Everything is where it belongs: say so, and what could not be given. */
static int report(const struct job *j)
{
	scoped(freep) char *address = disk_arg_text(&j->what);

	FILE *to = j->cli->json && !to_stdout(j) ? stdout : stderr;
	int r = write_map(j);

	if (r < 0)
		return r;
	lost_print(&j->lost, "lost", to, j->cli->json);
	lost_print(&j->damaged, "damaged", to, j->cli->json);
	if (j->cli->json)
		print_json(j, address);
	else if (!j->cli->quiet)
		print_text(j, address);
	if (j->damaged.n) {
		log_error("%s: %s could not be read, and are zeroes now",
			address,
			size_text(lost_sum(&j->damaged), (char[16]){ 0 }));
		return EXIT_DAMAGE;
	}
	if (j->lost.n == 0)
		return EXIT_OK;
	log_warn("%s: was backed up with ranges lost; they are zeroes now",
		address);
	return EXIT_WARNINGS;
}

/* What a restore that failed with R has left, and how to go on. */
static void say_partial(const struct job *j, int r)
{
	for (size_t i = 0; i < j->n; i++) {
		const struct target *t = &j->v[i].target;

		if (j->v[i].checked && t->blk && t->partial)
			log_info("%s: is incomplete; %s", t->partial,
				r == -EBADMSG
					? "--resume --best-effort makes the "
					  "damage zeroes and restores the rest"
					: "--resume continues it");
	}
}

static int restore(struct job *j)
{
	uint64_t least = (uint64_t)j->n_threads * 3 * WINDOW_LEN;
	int r = choose_disks(j);

	if (r == 0)
		r = choose_paths(j);
	if (r == 0)
		r = check_all(j);
	if (r == 0)
		r = cache_new(
			j->what.repo, MAX_OF(CACHE_LEN, least), &j->cache);
	if (r != 0)
		return r;
	if (!j->options->dry_run) {
		cancel_catch(to_stdout(j));
		r = restore_all(j);
		if (r < 0)
			say_partial(j, r);
	}
	return r < 0 ? r : report(j);
}

static void job_fini(struct job *j)
{
	for (size_t i = 0; i < j->n && j->v; i++) {
		if (j->v[i].checked)
			target_fini(&j->v[i].target);
		free(j->v[i].path);
	}
	free(j->v);
	vec_fini(&j->lost);
	vec_fini(&j->damaged);
	if (j->cache)
		cache_free(j->cache);
	disk_arg_fini(&j->what);
}

static int run(struct cli *c)
{
	scoped(repo_closep) struct repo *repo = NULL;
	struct job j = { .cli = c, .options = c->options };
	int r;

	if (j.options->map && !j.options->best_effort)
		return cli_usage(c, "--damage-map: needs --best-effort");
	r = cli_open(c, STORE_READ_ONLY, &repo);
	if (r < 0)
		return r;
	j.repository = target_repository(repo->url);
	j.n_threads = j.options->threads ? j.options->threads
					 : store_threads(repo->store);
	r = disk_arg_resolve(repo, c->operands[0], &j.what);
	if (r == 0)
		r = restore(&j);
	job_fini(&j);
	return r;
}

const struct verb verb_restore = {
	.name = "restore",
	.operands = "ADDRESS|CLONE[/DISK] TARGET",
	.complete = "address file",
	.min = 2,
	.max = 2,
	.summary = "Write a recovery point to a file, a device or a directory",
	.text = "TARGET is a file, a block device, a directory (each disk "
		"becomes DISK.img in it),\nor - for standard output. A file "
		"is called TARGET.partial until it is complete.\nA clone is "
		"restored as it is now; nothing may have it open.",
	.options = options,
	.options_size = sizeof(struct options),
	.run = run,
};

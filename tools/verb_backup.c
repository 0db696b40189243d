/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "repo/ingest.h"
#include "repo/machine.h"
#include "src/exit.h"
#include "src/log.h"
#include "src/monotonic.h"
#include "src/source.h"
#include "src/text.h"
#include "tools/cancel.h"
#include "tools/lost.h"
#include "tools/new_point.h"
#include "tools/progress.h"
#include "tools/verb.h"

struct options {
	const char *format, *firmware, *bus;
	unsigned memory, cpus;
	bool in_use, skip_errors, dry_run, outside_backing, no_check;
	unsigned threads;
};

static const struct cli_option options[] = {
	{ "format", 0, CLI_TEXT, offsetof(struct options, format),
		.arg = "FORMAT", .words = "raw qcow2 vmdk vhd vhdx vdi",
		.help = "of all image files named, raw, qcow2, vmdk, vhd, vhdx "
			"or vdi; otherwise their names tell, never what is in "
			"them" },
	{ "in-use", 0, CLI_FLAG, offsetof(struct options, in_use),
		.help = "also read a source that something has open; the point "
			"is marked as inconsistent (exit code 3)" },
	{ "no-check", 0, CLI_FLAG, offsetof(struct options, no_check),
		.help = "do not decompress what was compressed and compare it "
			"before it is stored" },
	{ "skip-errors", 0, CLI_FLAG, offsetof(struct options, skip_errors),
		.help = "record what a dying disk cannot give as lost ranges, "
			"and list them (exit code 3)" },
	{ "outside-backing", 0, CLI_FLAG,
		offsetof(struct options, outside_backing),
		.help = "follow backing files that lie outside their image's "
			"directory" },
	{ "memory", 0, CLI_NUMBER, offsetof(struct options, memory),
		.arg = "MIB", .min = 1, .max = 16u << 20,
		.help = "the machine's memory in MiB; this and the three below "
			"are what it boots with, and stay until said anew" },
	{ "cpus", 0, CLI_NUMBER, offsetof(struct options, cpus), .arg = "N",
		.min = 1, .max = CONFIG_CPUS_MAX, .help = "its processors" },
	{ "firmware", 0, CLI_TEXT, offsetof(struct options, firmware),
		.arg = "WHICH", .words = "bios uefi",
		.help = "its firmware, bios or uefi" },
	{ "bus", 0, CLI_TEXT, offsetof(struct options, bus), .arg = "BUS",
		.words = "virtio sata ide scsi",
		.help = "how its disks are attached: virtio, sata, ide or "
			"scsi" },
	{ "threads", 0, CLI_NUMBER, offsetof(struct options, threads),
		.arg = "N", .min = 1, .max = 256,
		.help = "default: as fits this host" },
	{ "dry-run", 0, CLI_FLAG, offsetof(struct options, dry_run),
		.help = "read and compare, store nothing, and say what would "
			"be stored" },
	{ 0 },
};

struct backup {
	struct cli *cli;
	const struct options *options;
	struct repo *repo;
	struct ingest_disk *disks; /* n of them; names and sources owned */
	size_t n;
	bool in_use;
	uint64_t gone; /* chunks and maps, with the files they were in */
	double seconds;
};

/*
 * Splits [DISK=]SOURCE. A file may have a '=' in its name: if there is one of
 * the whole name, that is meant, and a path or URI in front of '=' is no disk.
 */
static int split(const struct backup *b, size_t i, const char *text,
	struct ingest_disk *ret)
{
	size_t len = strcspn(text, "=");
	bool named =
		text[len] && !memchr(text, '/', len) && access(text, F_OK) != 0;
	char *name = NULL;

	if (named)
		name = strndup(text, len);
	else if (asprintf(&name, "disk%zu", i) < 0)
		name = NULL;
	if (!name) {
		fail(ENOMEM, "%s: %m", text);
		return -ENOMEM;
	}
	ret->name = name;
	ret->source_name = named ? text + len + 1 : text;
	if (named && !disk_name_ok(name))
		return cli_usage(b->cli,
			"'%s': not a disk's name (letters, digits, dot, dash, "
			"underscore; not ro, files or point)",
			name);
	return 0;
}

static int parse_disks(struct backup *b)
{
	const struct cli *c = b->cli;

	if (!machine_name_ok(c->operands[0]))
		return cli_usage(c,
			"'%s': not a machine's name (letters, digits, dot, "
			"dash, underscore; not clones or latest)",
			c->operands[0]);
	b->disks = calloc(c->n, sizeof(*b->disks));
	if (!b->disks)
		return fail(ENOMEM, "%s: %m", c->operands[0]);
	for (size_t i = 0; i + 1 < c->n; i++) {
		struct ingest_disk *d = &b->disks[b->n++];
		int r = split(b, i, c->operands[i + 1], d);

		if (r != 0)
			return r;
		if (strcmp(d->source_name, "-") == 0)
			return cli_usage(c,
				"'-': standard input is no source, as a disk "
				"is read in many places at once: name a file, "
				"a device or an NBD export");
		if (!*d->source_name)
			return cli_usage(c, "'%s': its source is missing",
				c->operands[i + 1]);
		for (size_t j = 0; j < i; j++)
			if (strcmp(b->disks[j].name, d->name) == 0)
				return cli_usage(c,
					"'%s': two disks have this name",
					d->name);
	}
	return 0;
}

static int open_sources(struct backup *b)
{
	const struct source_options o = {
		.format = b->options->format,
		.in_use = b->options->in_use,
		.outside_backing = b->options->outside_backing,
	};

	for (size_t i = 0; i < b->n; i++) {
		struct ingest_disk *d = &b->disks[i];
		bool in_use = false;
		int r = source_open(d->source_name, &o, &d->source, &in_use);

		if (r < 0)
			return r;
		b->in_use = b->in_use || in_use;
	}
	return 0;
}

static void backup_fini(struct backup *b)
{
	for (size_t i = 0; i < b->n; i++) {
		if (b->disks[i].source)
			blk_close(b->disks[i].source);
		free((void *)(uintptr_t)b->disks[i].name);
	}
	free(b->disks);
}

static struct machine_config config_of(const struct options *o)
{
	return (struct machine_config){
		.memory = (uint64_t)o->memory << 20,
		.cpus = o->cpus,
		.firmware = firmware_of(o->firmware),
		.bus = bus_of(o->bus),
	};
}

static int ingest_all(struct backup *b, struct point *ret)
{
	struct ingest_progress progress = { 0 };
	const struct ingest job = {
		.repo = b->repo,
		.machine = b->cli->operands[0],
		.disks = b->disks,
		.n_disks = b->n,
		.n_threads = b->options->threads,
		.consistency = b->in_use ? CONSISTENCY_NONE : CONSISTENCY_CRASH,
		.config = config_of(b->options),
		.skip_errors = b->options->skip_errors,
		.no_check = b->options->no_check,
		.dry_run = b->options->dry_run,
		.progress = &progress,
		.cancel = &cancelled,
	};
	double begun = monotonic_seconds();
	int r;

	progress_begin(b->cli, job.machine, &progress.done, &progress.total);
	r = ingest(&job, ret);
	progress_end();
	b->gone = progress.gone;
	b->seconds = monotonic_seconds() - begun;
	return r;
}

/* The warnings, and the exit code they make. */
static int judge(const struct backup *b, const struct point *p)
{
	struct lost_ranges lost = { 0 };
	int r = EXIT_OK;

	if (lost_bytes(p)) {
		char n[16];

		/* of a dry run, the maps that tell where are not stored */
		for (size_t i = 0; i < p->disks.n && r == 0; i++)
			if (!b->options->dry_run)
				r = lost_find(b->repo, &p->disks.v[i], &lost);
		lost_print(&lost, "lost", b->cli->json ? stdout : stderr,
			b->cli->json);
		vec_fini(&lost);
		if (r < 0)
			return r;
		log_warn("%s: %s could not be read", p->machine,
			size_text(lost_bytes(p), n));
		r = EXIT_WARNINGS;
	}
	if (b->gone) {
		log_warn("%s: what was in lost files (chunks and maps: %" PRIu64
			 ") is in the quarantine now, and what this backup has "
			 "of it was stored anew; hivefs verify says what else "
			 "needs it",
			b->repo->url, b->gone);
		r = EXIT_WARNINGS;
	}
	if (p->consistency == CONSISTENCY_NONE) {
		log_warn("%s: a source was in use: the point mixes states of "
			 "different instants",
			p->machine);
		r = EXIT_WARNINGS;
	}
	return r;
}

static int backup(struct backup *b)
{
	struct point p = { 0 };
	int r = parse_disks(b);

	if (r == 0)
		r = cli_open(b->cli, b->options->dry_run ? STORE_READ_ONLY : 0,
			&b->repo);
	if (r == 0)
		r = open_sources(b);
	if (r != 0)
		return r;
	cancel_catch(false);
	r = ingest_all(b, &p);
	if (r < 0)
		return r;
	r = judge(b, &p);
	new_point_print(b->cli, &(struct new_point){ .repo = b->repo,
					.point = &p,
					.seconds = b->seconds,
					.dry_run = b->options->dry_run });
	point_fini(&p);
	return r;
}

static int run(struct cli *c)
{
	struct backup b = { .cli = c, .options = c->options };
	int r = backup(&b);

	backup_fini(&b);
	if (b.repo)
		repo_close(b.repo);
	return r;
}

const struct verb verb_backup = {
	.name = "backup",
	.operands = "MACHINE [DISK=]SOURCE...",
	.complete = "machine file",
	.min = 2,
	.max = 1000,
	.summary = "Make a recovery point of a machine's disks",
	.text = "A SOURCE is an image file, a block device, or an NBD export "
		"(nbd://HOST/EXPORT,\nnbd+unix:///EXPORT?socket=PATH). Disks "
		"without a name are disk0, disk1, ... by\ntheir position. Only "
		"what the repository does not hold yet is stored.",
	.options = options,
	.options_size = sizeof(struct options),
	.run = run,
};

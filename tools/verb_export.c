/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/qcow2.h"
#include "formats/raw.h"
#include "formats/vdi.h"
#include "formats/vhd.h"
#include "formats/vhdx.h"
#include "formats/vmdk.h"
#include "formats/vmdk_sparse.h"
#include "repo/chunk.h"
#include "src/bytes.h"
#include "src/exit.h"
#include "src/log.h"
#include "src/monotonic.h"
#include "src/text.h"
#include "tools/cancel.h"
#include "tools/disk_arg.h"
#include "tools/export.h"
#include "tools/json.h"
#include "tools/progress.h"
#include "tools/say.h"
#include "tools/target.h"
#include "tools/verb.h"

#define CACHE_LEN (UINT64_C(256) << 20)

struct options {
	const char *subformat;
	bool overwrite, dry_run;
	unsigned threads;
};

static const struct cli_option options[] = {
	{ "subformat", 0, CLI_TEXT, offsetof(struct options, subformat),
		.arg = "KIND",
		.words = "monolithicSparse monolithicFlat vmfs "
			 "streamOptimized dynamic fixed static",
		.help = "which kind of the format; default: one that leaves "
			"zeroes out" },
	{ "overwrite", 0, CLI_FLAG, offsetof(struct options, overwrite),
		.help = "replace a file that is not empty" },
	{ "threads", 0, CLI_NUMBER, offsetof(struct options, threads),
		.arg = "N", .min = 1, .max = 256,
		.help = "default: as fits this host" },
	{ "dry-run", 0, CLI_FLAG, offsetof(struct options, dry_run),
		.help = "check everything, write nothing" },
	{ 0 },
};

/* A kind of file: packed if that is given, else as a view is; or a stream. */
struct kind {
	const struct format *format;
	const struct packed_format *packed;
	const char *name; /* NULL: the only one */
	const char *limit;
	bool vmfs, stream;
};

#define VHD_LIMIT "2040 GiB, in sectors of 512 bytes"
#define VHDX_LIMIT "64 TiB"
#define VDI_LIMIT "512 TiB, in sectors of 512 bytes"
#define FLAT_LIMIT "8 EiB, in sectors of 512 bytes"
#define SPARSE_LIMIT                                                           \
	"2 TiB, in sectors of 512 bytes (--subformat monolithicFlat: more)"

/* The first of a format is what is meant where none is named. */
static const struct kind kinds[] = {
	{ .format = &format_raw, .limit = "8 EiB" },
	{ .format = &format_vmdk,
		.packed = &packed_vmdk,
		.name = "monolithicSparse",
		.limit = SPARSE_LIMIT },
	{ .format = &format_vmdk,
		.name = "monolithicFlat",
		.limit = FLAT_LIMIT },
	{ .format = &format_vmdk,
		.name = "vmfs",
		.limit = FLAT_LIMIT,
		.vmfs = true },
	{ .format = &format_vmdk,
		.name = "streamOptimized",
		.limit = SPARSE_LIMIT,
		.stream = true },
	{ .format = &format_vhd,
		.packed = &packed_vhd,
		.name = "dynamic",
		.limit = VHD_LIMIT },
	{ .format = &format_vhd, .name = "fixed", .limit = VHD_LIMIT },
	{ .format = &format_vhdx,
		.packed = &packed_vhdx,
		.name = "dynamic",
		.limit = VHDX_LIMIT },
	{ .format = &format_vhdx, .name = "fixed", .limit = VHDX_LIMIT },
	{ .format = &format_vdi,
		.packed = &packed_vdi,
		.name = "dynamic",
		.limit = VDI_LIMIT },
	{ .format = &format_vdi, .name = "static", .limit = VDI_LIMIT },
	{ .format = &format_qcow2,
		.packed = &packed_qcow2,
		.limit = "256 TiB" },
};

struct job {
	struct cli *cli;
	const struct options *options;
	const char *file;
	const struct kind *kind;
	struct disk_arg what;
	const struct point_disk *disk;
	const char *repository; /* path of an embedded one, or NULL */
	struct cache *cache;
	struct export_disk export;
	char *base; /* of FILE, without the ending; owned */
	struct present *present;
	struct target target, flat;
	bool checked, flat_checked;
	_Atomic uint64_t done, written, total;
	struct lost_ranges lost;
	uint64_t size; /* of the file, or of the flat one */
	double seconds;
};

static bool is_flat(const struct kind *k)
{
	return k->format == &format_vmdk && !k->packed && !k->stream;
}

/* "dynamic or fixed"; owned. No memory: it exits. */
static char *kind_names(const struct format *f)
{
	char *text = strdup("");

	for (size_t i = 0; text && i < N_ELEMS(kinds); i++) {
		char *more;

		if (kinds[i].format != f || !kinds[i].name)
			continue;
		if (asprintf(&more, "%s%s%s", text, *text ? " or " : "",
			    kinds[i].name) < 0)
			more = NULL;
		free(text);
		text = more;
	}
	if (!text)
		cli_no_memory();
	return text;
}

/* By the ending of FILE, and what --subformat says. */
static int choose_kind(struct job *j)
{
	const char *slash = strrchr(j->file, '/');
	const char *base = slash ? slash + 1 : j->file;
	const char *dot = strrchr(base, '.');
	const char *name = j->options->subformat;
	const struct format *f =
		dot && dot > base ? format_find(dot + 1) : NULL;
	scoped(freep) char *names = NULL;

	if (!f)
		return cli_usage(j->cli,
			"%s: its ending must be img, vmdk, vhd, vhdx, vdi or "
			"qcow2, which says the format",
			j->file);
	for (size_t i = 0; i < N_ELEMS(kinds) && !j->kind; i++)
		if (kinds[i].format == f &&
			(!name || (kinds[i].name &&
					  strcmp(kinds[i].name, name) == 0)))
			j->kind = &kinds[i];
	if (!j->kind) {
		names = kind_names(f);
		return *names ? cli_usage(j->cli, "%s: can be %s, not %s",
					j->file, names, name)
			      : cli_usage(j->cli, "%s: there is only one kind",
					j->file);
	}
	j->base = strndup(base, (size_t)(dot - base));
	if (!j->base)
		return fail(ENOMEM, "%s: %m", j->file);
	/* it becomes part of a line of the descriptor */
	for (const char *c = j->base; f == &format_vmdk && *c; c++)
		if (*c == '"' || (unsigned char)*c < ' ')
			return cli_usage(j->cli,
				"%s: a VMDK cannot name itself so", j->file);
	return 0;
}

static int choose_disk(struct job *j)
{
	struct point *p = &j->what.address.point;

	j->disk = j->what.address.disk;
	if (!j->disk && p->disks.n != 1)
		return cli_usage(j->cli,
			"%s: has %zu disks, so name one as MACHINE/DISK@WHEN",
			j->cli->operands[0], p->disks.n);
	if (!j->disk)
		j->disk = &p->disks.v[0];
	atomic_store(&j->total, j->disk->size);
	return 0;
}

static int too_large(const struct job *j)
{
	char size[16];

	return fail(EINVAL,
		"%s: the disk has %s in sectors of %" PRIu32
		" bytes, a file of this kind holds at most %s",
		j->file, size_text(j->disk->size, size), j->disk->sector_size,
		j->kind->limit);
}

/* As far as that can be told without what the disk holds. */
static int check_size(const struct job *j)
{
	const struct point_disk *d = j->disk;
	struct layout l;
	bool fits = j->kind->stream || j->kind->packed == &packed_vmdk
			    ? vmdk_stream_can_hold(d->size, d->sector_size)
			    : j->kind->format->layout(
				      d->size, d->sector_size, &l) == 0;

	return fits ? 0 : too_large(j);
}

static int check_file(
	struct job *j, const char *name, struct target *ret, bool *ret_checked)
{
	struct target_options o = {
		.overwrite = j->options->overwrite,
		.resume = j->options->overwrite,
		.work = "export",
		.remedy = "--overwrite replaces it",
		.data = j->disk->stats.data,
		.repository = j->repository,
	};
	int r;

	*ret_checked = true;
	r = target_check(name, j->disk->size, &o, ret);
	if (r == 0 && !ret->partial)
		r = fail(EINVAL, "%s: is a device; hivefs restore writes those",
			name);
	return r;
}

static int check_files(struct job *j)
{
	scoped(freep) char *flat = NULL;
	int len = (int)strlen(j->file) - (int)strlen(".vmdk");
	struct stat st;
	int r = check_file(j, j->file, &j->target, &j->checked);

	if (r < 0 || !is_flat(j->kind))
		return r;
	if (lstat(j->file, &st) == 0 && S_ISLNK(st.st_mode))
		return fail(EINVAL,
			"%s: is a link, and would name a file beside it",
			j->file);
	if (asprintf(&flat, "%.*s%s", len, j->file, format_vmdk_flat.ending) <
		0) {
		flat = NULL;
		return fail(ENOMEM, "%s: %m", j->file);
	}
	return check_file(j, flat, &j->flat, &j->flat_checked);
}

/* The same file whenever it is written, and another one than a view. */
static struct identity identify(const struct job *j)
{
	const struct clone *c = j->what.clone.name ? &j->what.clone : NULL;
	const struct point *p = &j->what.address.point;
	struct identity id = { .time = c ? c->created : p->id.time,
		.name = j->base,
		.vmfs = j->kind->vmfs };
	uint8_t b[8 + KEY_MAX + 4] = "export";
	struct key key = point_key(&p->id);
	struct digest d;

	put_le32(b + 8, (uint32_t)(j->disk - p->disks.v));
	if (c)
		memcpy(b + 12, c->id.b, sizeof(c->id.b));
	else
		memcpy(b + 12, key.b, key.len);
	d = digest_of(b, sizeof(b));
	memcpy(id.id.b, d.b, sizeof(id.id.b));
	return id;
}

/* A directory that went is no damage, as what is not in the store is. */
static int of_file(int r)
{
	return r == -ENOENT ? -EIO : r;
}

static int prepare(struct target *t, uint64_t size)
{
	return of_file(target_prepare_empty(t, size));
}

static int finish(struct target *t)
{
	return of_file(target_finish(t));
}

static int write_plain(struct job *j)
{
	const struct format *f = j->kind->format;
	const struct point_disk *d = j->disk;
	struct layout l;
	int r;

	if (is_flat(j->kind)) {
		r = format_raw.layout(d->size, d->sector_size, &l);
		if (r == 0)
			r = prepare(&j->flat, layout_size(&l));
		if (r == 0)
			r = export_plain(
				&j->export, &format_raw, &l, j->flat.blk);
		if (r == 0)
			r = finish(&j->flat);
		if (r < 0)
			return r;
		j->size = layout_size(&l);
	}
	r = f->layout(d->size, d->sector_size, &l);
	if (r == 0)
		r = prepare(&j->target, layout_size(&l));
	if (r == 0)
		r = export_plain(&j->export, f, &l, j->target.blk);
	if (!is_flat(j->kind))
		j->size = layout_size(&l);
	return r;
}

static int write_packed(struct job *j)
{
	const struct packed_format *f = j->kind->packed;
	const struct point_disk *d = j->disk;
	struct packed p;
	int r = export_present(&j->export, f->block, NULL, &j->present);

	if (r < 0)
		return r;
	r = f->layout(d->size, d->sector_size, j->present, &p);
	if (r == -EFBIG)
		return too_large(j);
	if (r == 0)
		r = prepare(&j->target, packed_size(&p));
	if (r == 0)
		r = export_packed(&j->export, f, &p, j->target.blk);
	j->size = packed_size(&p);
	return r;
}

static int write_stream(struct job *j)
{
	int r = export_present(&j->export, VMDK_GRAIN, &j->lost, &j->present);

	if (r == 0)
		r = prepare(&j->target, export_stream_max(j->present));
	if (r == 0)
		r = export_stream(
			&j->export, j->present, j->target.blk, &j->size);
	return r < 0 ? r : target_cut(&j->target, j->size);
}

static int write_file(struct job *j)
{
	scoped(disk_closep) struct disk *disk = NULL;
	scoped(live_closep) struct live *live = NULL;
	int r = disk_arg_open(&j->what, j->cache, j->disk, &disk, &live);

	if (r < 0)
		return r;
	j->export.from.disk = disk;
	j->export.from.live = live;
	if (j->kind->packed)
		r = write_packed(j);
	else
		r = j->kind->stream ? write_stream(j) : write_plain(j);
	if (r == 0)
		r = finish(&j->target);
	if (r == -ESTALE)
		r = fail(EBUSY, "%s: was written to and folded meanwhile",
			j->cli->operands[0]);
	/* what the point names and is not there is damage, too */
	return r == -ENOENT ? -EBADMSG : r;
}

static void print_json(const struct job *j, const char *address)
{
	json_t *o = json_pack("{s:s, s:s, s:b, s:s, s:s, s:o, s:s}", "type",
		"summary", "verb", "export", "dry_run",
		(int)j->options->dry_run, "address", address, "disk",
		j->disk->name, "file", json_text(j->file), "format",
		j->kind->format->name);
	uint64_t lost = 0;

	for (size_t i = 0; i < j->lost.n; i++)
		lost += j->lost.v[i].len;
	if (j->kind->name)
		json_object_set_new(o, "subformat", json_string(j->kind->name));
	json_object_set_new(o, "size", json_bytes(j->disk->size));
	if (!j->options->dry_run)
		json_object_set_new(o, "file_size", json_bytes(j->size));
	json_object_set_new(o, "written", json_bytes(j->written));
	json_object_set_new(o, "lost", json_bytes(lost));
	json_object_set_new(o, "seconds", json_real(j->seconds));
	json_line(stdout, o);
}

static void print_text(const struct job *j, const char *address)
{
	const char *name = j->kind->format->name;
	const char *kind = j->kind->name;
	char size[16], written[16], rate[16];

	if (j->options->dry_run)
		say_line(stdout,
			"%s: %s can be exported to %s; nothing was written",
			address, size_text(j->disk->size, size), j->file);
	else
		say_line(stdout,
			"%s: exported to %s (%s%s%s): %s, of which %s had to "
			"be written, in %.1f s (%s/s)",
			address, j->file, name, kind ? " " : "",
			kind ? kind : "", size_text(j->disk->size, size),
			size_text(j->written, written), j->seconds,
			size_text((uint64_t)((double)j->written /
					     MAX_OF(j->seconds, 1e-3)),
				rate));
}

static int report(const struct job *j)
{
	scoped(freep) char *address = disk_arg_text(&j->what);

	lost_print(
		&j->lost, "lost", j->cli->json ? stdout : stderr, j->cli->json);
	if (j->cli->json)
		print_json(j, address);
	else if (!j->cli->quiet)
		print_text(j, address);
	if (j->lost.n == 0)
		return EXIT_OK;
	log_warn("%s: was backed up with ranges lost; they are zeroes now",
		address);
	return EXIT_WARNINGS;
}

static int run_job(struct job *j, const struct repo *repo)
{
	unsigned n_threads = j->options->threads ? j->options->threads
						 : store_threads(repo->store);
	uint64_t least = (uint64_t)n_threads * 3 * WINDOW_LEN;
	double begun = monotonic_seconds();
	int r = choose_disk(j);

	if (r == 0)
		r = check_size(j);
	if (r == 0)
		r = check_files(j);
	if (r == 0)
		r = cache_new(
			j->what.repo, MAX_OF(CACHE_LEN, least), &j->cache);
	if (r != 0 || j->options->dry_run)
		return r;
	j->export = (struct export_disk){
		.from = { .name = j->disk->name,
			.n_threads = n_threads,
			.cancel = &cancelled,
			.done = &j->done,
			.written = &j->written,
			.lost = &j->lost },
		.sector_size = j->disk->sector_size,
		.identity = identify(j),
	};
	cancel_catch(false);
	progress_begin(j->cli, j->cli->operands[0], &j->done, &j->total);
	r = write_file(j);
	progress_end();
	j->seconds = monotonic_seconds() - begun;
	return r;
}

static void job_fini(struct job *j)
{
	if (j->checked)
		target_fini(&j->target);
	if (j->flat_checked)
		target_fini(&j->flat);
	if (j->present)
		present_free(j->present);
	if (j->cache)
		cache_free(j->cache);
	vec_fini(&j->lost);
	free(j->base);
	disk_arg_fini(&j->what);
}

static int run(struct cli *c)
{
	scoped(repo_closep) struct repo *repo = NULL;
	struct job j = {
		.cli = c, .options = c->options, .file = c->operands[1]
	};
	int r = choose_kind(&j);

	if (r == 0)
		r = cli_open(c, STORE_READ_ONLY, &repo);
	if (r == 0) {
		j.repository = target_repository(repo->url);
		r = disk_arg_resolve(repo, c->operands[0], &j.what);
	}
	if (r == 0)
		r = run_job(&j, repo);
	if (r == 0)
		r = report(&j);
	job_fini(&j);
	return r;
}

const struct verb verb_export = {
	.name = "export",
	.operands = "ADDRESS|CLONE[/DISK] FILE",
	.complete = "address file",
	.min = 2,
	.max = 2,
	.summary = "Write a disk as an image file for another hypervisor",
	.text = "FILE ends with .img, .vmdk, .vhd, .vhdx, .vdi or .qcow2, "
		"which "
		"says the format.\nIt is called FILE.partial until it is "
		"complete. A clone is exported as it is\nnow; nothing may have "
		"it open.",
	.options = options,
	.options_size = sizeof(struct options),
	.run = run,
};

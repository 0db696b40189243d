/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/format.h"
#include "repo/address.h"
#include "repo/clone_branch.h"
#include "repo/location.h"
#include "src/bytes.h"
#include "src/exit.h"
#include "src/log.h"
#include "src/monotonic.h"
#include "src/text.h"
#include "src/uuid.h"
#include "tools/aftercare.h"
#include "tools/boot_show.h"
#include "tools/cancel.h"
#include "tools/clone_arg.h"
#include "tools/drop.h"
#include "tools/guest.h"
#include "tools/json.h"
#include "tools/mounted.h"
#include "tools/verb.h"
#include "tools/vm.h"

#define MEMORY_DEFAULT 2048
#define CPUS_DEFAULT 2
#define CPUS_MAX 255 /* of QEMU's machine */
#define TIMEOUT_DEFAULT 300
#define HEAD_LEN 1024
#define NAME_LEN 128 /* of a clone */

struct options {
	const char *format, *bus, *firmware, *accel, *until;
	unsigned memory, cpus, timeout;
	bool network, temporary, headless, print, libvirt;
};

static const struct cli_option options[] = {
	{ "format", 0, CLI_TEXT, offsetof(struct options, format), .arg = "F",
		.words = "img vmdk vhd vhdx vdi qcow2",
		.help = "the files to start from: img, vmdk, vhd, vhdx, vdi or "
			"qcow2 (img, if the mount shows it)" },
	{ "memory", 0, CLI_NUMBER, offsetof(struct options, memory),
		.arg = "MIB", .min = 16, .max = 16u << 20,
		.help = "memory of the machine in MiB (as its backup says, "
			"else "
			"2048)" },
	{ "cpus", 0, CLI_NUMBER, offsetof(struct options, cpus), .arg = "N",
		.min = 1, .max = CPUS_MAX,
		.help = "processors (as its backup says, else 2)" },
	{ "bus", 0, CLI_TEXT, offsetof(struct options, bus), .arg = "BUS",
		.words = "virtio sata ide scsi",
		.help = "how its disks are attached: virtio, sata, ide or scsi "
			"(as its backup says, else virtio)" },
	{ "firmware", 0, CLI_TEXT, offsetof(struct options, firmware),
		.arg = "WHICH", .words = "auto bios uefi",
		.help = "auto, bios or uefi (as its backup says, else auto: as "
			"its first disk is made)" },
	{ "accel", 0, CLI_TEXT, offsetof(struct options, accel), .arg = "WHICH",
		.words = "auto kvm tcg",
		.help = "auto, kvm or tcg, which is emulation (auto: kvm where "
			"there is a /dev/kvm)" },
	{ "network", 0, CLI_FLAG, offsetof(struct options, network),
		.help = "give it a network, behind QEMU's address translation; "
			"by default it has none" },
	{ "temporary", 0, CLI_FLAG, offsetof(struct options, temporary),
		.help = "drop all that it writes when it ends" },
	{ "headless", 0, CLI_FLAG, offsetof(struct options, headless),
		.help = "without a screen, for a boot test; implies "
			"--temporary" },
	{ "until", 0, CLI_TEXT, offsetof(struct options, until), .arg = "TEXT",
		.help = "with --headless: it is up when a line of its serial "
			"console contains TEXT" },
	{ "timeout", 0, CLI_NUMBER, offsetof(struct options, timeout),
		.arg = "SECONDS", .min = 1, .max = 86400,
		.help = "with --headless: it must be up by then (300)" },
	{ "print", 0, CLI_FLAG, offsetof(struct options, print),
		.help = "show the commands that start it, start nothing" },
	{ "libvirt", 0, CLI_FLAG, offsetof(struct options, libvirt),
		.help = "show a domain for libvirt, start nothing" },
	{ 0 },
};

struct job {
	struct cli *cli;
	const struct options *options;
	char *url;
	char *mount; /* where it is mounted */
	char *text;  /* what is started, for people */
	/* of a point, else of a clone */
	bool is_point;
	struct point_id point;
	struct uuid from;
	char *machine;
	char clone[NAME_LEN + 1]; /* a name; empty: the point's own */
	bool fork;                /* the clone is made for this */
	struct vec(char *) names; /* of its disks */
	struct machine_config config;
	struct vm vm;
	struct aftercare after;
};

static void job_fini(struct job *j)
{
	for (size_t i = 0; i < j->names.n; i++)
		free(j->names.v[i]);
	vec_fini(&j->names);
	vm_fini(&j->vm);
	free(j->machine);
	free(j->text);
	free(j->mount);
	free(j->url);
}

static int add_disk(
	struct job *j, const char *name, uint64_t size, uint32_t sector_size)
{
	struct vm_disk d = { .size = size, .sector_size = sector_size };
	char *copy = strdup(name);

	if (!copy || vec_add(&j->names, copy) < 0 ||
		vec_add(&j->vm.disks, d) < 0)
		cli_no_memory();
	return 0;
}

/* It is for this run only: another clone, made for it. */
static void name_temporary(struct job *j)
{
	char id[UUID_TEXT];
	struct uuid random = uuid_random();

	j->fork = j->options->temporary || j->options->headless;
	if (j->fork)
		snprintf(j->clone, sizeof(j->clone), "boot-%.8s",
			uuid_text(&random, id));
}

static int use_clone(struct job *j, const struct clone *c)
{
	int r = 0;

	snprintf(j->clone, sizeof(j->clone), "%s", c->name);
	name_temporary(j);
	j->from = c->id;
	j->text = strdup(c->name);
	j->config = c->config;
	for (size_t i = 0; r == 0 && i < c->disks.n; i++)
		r = add_disk(j, c->disks.v[i].name, c->disks.v[i].size,
			c->disks.v[i].sector_size);
	return r;
}

static int use_point(struct job *j, struct repo *repo, const struct address *a)
{
	const struct point *p = &a->point;
	int r = 0;

	if (a->disk)
		return cli_usage(j->cli,
			"%s: names one disk, but a machine is started with all "
			"that its point has",
			j->cli->operands[0]);
	j->is_point = true;
	j->point = p->id;
	j->machine = strdup(p->machine);
	j->config = p->config;
	j->text = cli_address(repo, p);
	name_temporary(j);
	for (size_t i = 0; r == 0 && i < p->disks.n; i++)
		r = add_disk(j, p->disks.v[i].name, p->disks.v[i].size,
			p->disks.v[i].sector_size);
	return r;
}

/* May it be a point's? */
static bool is_alias(const char *word)
{
	return word[strspn(word, "0123456789abcdefABCDEF")] == 0;
}

/* Which machine, and whether the repository is mounted already. */
static int look_up(struct job *j)
{
	const char *word = j->cli->operands[0];
	scoped(repo_closep) struct repo *repo = NULL;
	struct uuid id = clone_named_id(word);
	struct address a;
	struct clone c;
	int r = cli_open(j->cli, STORE_READ_ONLY, &repo);

	if (r < 0)
		return r;
	r = name_ok(word) ? clone_get(repo, &id, &c) : -ENOENT;
	if (r == 0) {
		r = use_clone(j, &c);
		clone_fini(&c);
	} else if (r == -ENOENT && name_ok(word) && !is_alias(word)) {
		r = fail(ENOENT,
			"%s: there is no clone of this name, and a point is "
			"called MACHINE@WHEN, as web@latest",
			word);
	} else if (r == -ENOENT) {
		r = address_resolve(repo, word, &a);
		if (r == 0) {
			r = use_point(j, repo, &a);
			address_fini(&a);
		}
	}
	if (r != 0)
		return r;
	r = mounted_find(&repo->uuid, &j->mount);
	return r == -ENOENT ? 0 : r;
}

static int fork_point(const struct job *j, struct repo *repo)
{
	struct point p;
	struct clone c;
	int r = point_get(repo, &j->point, &p);

	if (r < 0)
		return r;
	r = clone_fork_temporary(repo, &p, j->clone, &c);
	point_fini(&p);
	if (r == 0)
		clone_fini(&c);
	return r;
}

/* As it is now: somebody may be writing to it. */
static int fork_clone(const struct job *j, struct repo *repo)
{
	struct stream_owner us = clone_arg_us(j->cli);
	struct clone from, c;
	int r = clone_get(repo, &j->from, &from);

	if (r < 0)
		return r;
	r = clone_branch_temporary(repo, &from, j->clone, &us, &c);
	clone_fini(&from);
	if (r == 0)
		clone_fini(&c);
	return r;
}

/* The clone that this is for, and the mount if there is none. */
static int prepare(struct job *j)
{
	bool ours = !j->mount;
	int r = ours ? mounted_directory(&j->mount) : 0;

	if (r < 0)
		return r;
	j->after = (struct aftercare){ .mount = ours ? j->mount : NULL,
		.clone = j->fork ? j->clone : NULL };
	if (ours || j->fork)
		r = aftercare_begin(&j->after);
	if (r == 0 && j->fork) {
		scoped(repo_closep) struct repo *repo = NULL;

		r = cli_open(j->cli, 0, &repo);
		if (r == 0) {
			drop_abandoned(j->cli, repo);
			r = j->is_point ? fork_point(j, repo)
					: fork_clone(j, repo);
		}
		if (r == -ENOENT)
			r = fail(ENOENT, "%s: was removed meanwhile", j->text);
	}
	if (r == 0 && ours)
		r = mounted_make(j->mount);
	return r;
}

/* The directory that the views are in; owned. */
static char *directory(const struct job *j)
{
	char alias[ALIAS_LEN + 1], time[32];
	char *dir;

	if (j->clone[0]) {
		if (asprintf(&dir, "%s/clones/%s", j->mount, j->clone) < 0)
			cli_no_memory();
		return dir;
	}
	/* a point that shares its second may have its alias in its name */
	if (asprintf(&dir, "%s/%s/%s-%s", j->mount, j->machine,
		    time_name(j->point.time, time),
		    point_alias(&j->point, alias)) < 0)
		cli_no_memory();
	if (access(dir, F_OK) != 0)
		*strrchr(dir, '-') = 0;
	return dir;
}

static bool is_made_for_uefi(const char *path)
{
	uint8_t head[HEAD_LEN] = { 0 };
	scoped(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && pread(fd, head, sizeof(head), 0) == HEAD_LEN &&
	       vm_wants_uefi(head);
}

/* Of the first disk, in whichever file that begins as the disk does. */
static bool disk_wants_uefi(const struct job *j, const char *dir)
{
	static const char *const endings[] = { ".img", "-flat.vmdk", ".vhd" };
	bool wants = false;

	for (size_t i = 0; !wants && i < N_ELEMS(endings); i++) {
		scoped(freep) char *path = NULL;

		if (asprintf(&path, "%s/%s%s", dir, j->names.v[0], endings[i]) <
			0)
			cli_no_memory();
		wants = is_made_for_uefi(path);
	}
	return wants;
}

/* What is asked for, else what the backup was told, else what may do. */
static void choose_hardware(struct job *j, const char *dir)
{
	const struct options *o = j->options;
	const struct machine_config asked = {
		.memory = (uint64_t)o->memory << 20,
		.cpus = o->cpus,
		.firmware = firmware_of(o->firmware),
		.bus = bus_of(o->bus),
	};
	struct machine_config c = machine_config_over(&asked, &j->config);

	j->vm.memory = c.memory ? (unsigned)(c.memory >> 20) : MEMORY_DEFAULT;
	j->vm.cpus = MIN_OF(c.cpus ?: CPUS_DEFAULT, (unsigned)CPUS_MAX);
	j->vm.bus = bus_name(c.bus ?: BUS_VIRTIO);
	if (c.firmware && (asked.firmware || !o->firmware))
		j->vm.uefi = c.firmware == FIRMWARE_UEFI;
	else
		j->vm.uefi = disk_wants_uefi(j, dir);
}

/* The one asked for, else the .img, else what the mount shows instead. */
static const struct format *choose_format(const struct job *j, const char *dir)
{
	const char *asked = j->options->format;
	const struct format *f;

	for (size_t i = 0; !asked && (f = format_at(i)); i++) {
		scoped(freep) char *path = NULL;

		if (asprintf(&path, "%s/%s%s", dir, j->names.v[0], f->ending) <
			0)
			cli_no_memory();
		if (!f->same_as && access(path, F_OK) == 0)
			return f;
	}
	return format_find(asked ? asked : "img");
}

/* Why the mount does not show the file of disk number I. */
static int not_there(const struct job *j, const struct format *f, size_t i)
{
	const struct vm_disk *d = &j->vm.disks.v[i];
	char size[16];
	struct layout l;

	if (errno != ENOENT)
		return fail(errno, "%s: %m", d->path);
	if (f->layout(d->size, d->sector_size, &l) < 0)
		return fail(EINVAL,
			"%s: a %s cannot hold %s, which has %s in sectors of "
			"%" PRIu32 " bytes; another --format can",
			j->text, f->ending, j->names.v[i],
			size_text(d->size, size), d->sector_size);
	return fail(ENOENT,
		"%s: the mount does not show it; another --format may do",
		d->path);
}

static int find_files(struct job *j)
{
	const struct options *o = j->options;
	scoped(freep) char *dir = directory(j);
	const struct format *f = choose_format(j, dir);

	for (size_t i = 0; i < j->names.n; i++) {
		struct vm_disk *d = &j->vm.disks.v[i];

		if (asprintf(&d->path, "%s/%s%s", dir, j->names.v[i],
			    f->ending) < 0)
			cli_no_memory();
		if (access(d->path, F_OK) != 0)
			return not_there(j, f, i);
	}
	j->vm.name = j->text;
	j->vm.format = strcmp(f->name, "vhd") == 0 ? "vpc" : f->name;
	j->vm.network = o->network;
	j->vm.kvm = !o->accel || strcmp(o->accel, "auto") == 0
			    ? access("/dev/kvm", R_OK | W_OK) == 0
			    : strcmp(o->accel, "kvm") == 0;
	j->vm.headless = o->headless;
	j->vm.snapshot = j->vm.snapshot || f->read_only;
	j->vm.more = j->cli->operands + 1;
	choose_hardware(j, dir);
	return 0;
}

static int report(
	const struct job *j, const struct guest_line *line, double seconds)
{
	const struct cli *c = j->cli;

	if (c->json)
		json_line(stdout,
			json_pack("{s:s, s:s, s:o, s:s, s:b, s:f, s:o, s:o}",
				"type", "summary", "verb", "boot", "machine",
				json_text(j->text), "format", j->vm.format,
				"up", (int)line->up, "seconds", seconds,
				"before", json_text(line->before), "line",
				json_text(line->text)));
	else if (line->up && !c->quiet)
		printf("%s: up after %.1f s: %s\n", j->text, seconds,
			line->text);
	if (line->up)
		return EXIT_OK;
	return fail(EIO, "%s: %s (%.1f s); the last it said: %s%s%s%s%s%s",
		j->text, line->ended ? line->ended : "did not start", seconds,
		line->before, line->before[0] ? " / " : "",
		line->text[0] ? line->text : "nothing",
		line->error[0] ? "; QEMU: " : "", line->error,
		line->error[0] && j->vm.kvm ? "; --accel tcg does without KVM"
					    : "");
}

static int start(struct job *j, const struct words *command)
{
	const char *const *argv = (const char *const *)command->v;
	struct guest_line line;
	double begun = monotonic_seconds();
	int r;

	if (!j->options->headless) {
		r = guest_run(argv);
		if (r == 0 && j->cli->json)
			json_line(stdout,
				json_pack("{s:s, s:s, s:o, s:s, s:f}", "type",
					"summary", "verb", "boot", "machine",
					json_text(j->text), "format",
					j->vm.format, "seconds",
					monotonic_seconds() - begun));
		return r;
	}
	r = guest_watch(argv, j->options->until,
		j->options->timeout ? j->options->timeout : TIMEOUT_DEFAULT,
		&line);
	return r < 0 ? r : report(j, &line, monotonic_seconds() - begun);
}

static struct boot_shown shown(const struct job *j)
{
	return (struct boot_shown){ .cli = j->cli,
		.vm = &j->vm,
		.text = j->text,
		.url = j->url,
		.mount = j->mount,
		.makes_mount = j->after.mount };
}

static int boot(struct job *j)
{
	const struct options *o = j->options;
	struct words command = { 0 };
	int r = find_files(j);
	struct boot_shown what = shown(j);

	if (r == 0)
		r = vm_check(&j->vm, o->libvirt);
	if (r == 0 && o->libvirt)
		return boot_show_domain(&what);
	if (r == 0)
		r = vm_command(&j->vm, &command);
	if (r < 0)
		return r;
	r = o->print ? boot_show_command(&what, &command) : start(j, &command);
	words_fini(&command);
	return r;
}

/* What is only shown: a command makes its files, a domain needs them to stay.
 */
static int check_shown(const struct job *j)
{
	if (j->fork)
		return cli_usage(j->cli,
			"--print and --libvirt make no clone: without "
			"--temporary and --headless");
	if (j->options->libvirt && !j->mount)
		return fail(ENOENT,
			"the repository is not mounted here, and a domain "
			"needs files that stay: hivefs mount DIRECTORY first");
	return 0;
}

static int check(const struct job *j)
{
	const struct options *o = j->options;

	if (o->headless != (o->until != NULL))
		return cli_usage(j->cli,
			"--headless and --until belong together: what does it "
			"say when it is up?");
	if (o->until && !*o->until)
		return cli_usage(j->cli, "--until: is empty");
	if (o->timeout && !o->headless)
		return cli_usage(j->cli, "--timeout is for --headless");
	return EXIT_OK;
}

static int run_job(struct job *j)
{
	int ended, r = check(j);

	if (r != EXIT_OK)
		return r;
	r = repo_location(j->cli->repo, &j->url);
	if (r == 0)
		r = look_up(j);
	if (r != 0)
		return r;
	if (j->options->print || j->options->libvirt)
		r = check_shown(j);
	if (r != 0)
		return r;
	/* words of a command line are read by others: a password may be in it
	 */
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the only thread */
	if (setenv("HIVEFS_REPO", j->url, 1) != 0)
		return fail(ENOMEM, "boot: %m");
	cancel_catch(true);
	r = prepare(j);
	if (r == 0)
		r = boot(j);
	ended = aftercare_end(&j->after);
	return r ? r : ended;
}

static int run(struct cli *c)
{
	struct job j = { .cli = c, .options = c->options };
	int r = run_job(&j);

	job_fini(&j);
	return r;
}

const struct verb verb_boot = {
	.name = "boot",
	.operands = "ADDRESS|CLONE [-- QEMU-OPTION...]",
	.complete = "address none",
	.min = 1,
	.max = 256,
	.summary = "Start a machine in QEMU from a point or clone",
	.text = "Nothing is restored. What a machine started from a point "
		"writes goes to the\npoint's own clone, and is kept until it "
		"is discarded; with --temporary and\n--headless it is dropped, "
		"whatever happens.\n\nIs this backup bootable?\n  hivefs boot "
		"web@latest --headless --until 'login:' --timeout 120",
	.options = options,
	.options_size = sizeof(struct options),
	.run = run,
};

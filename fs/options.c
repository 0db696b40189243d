/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/options.h"

#include <errno.h>
#include <fuse3/fuse_opt.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "formats/format.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/text.h"

const char options_help[] =
	"Usage: hivefs [mount] [REPOSITORY] MOUNTPOINT [-o OPTIONS] [-f] [-d]\n"
	"\n"
	"Shows every recovery point of a repository as files.\n"
	"\n"
	"  -r, --repo REPOSITORY  path or URL; else $HIVEFS_REPO or the "
	"default\n"
	"  -f, --foreground       stay in the foreground, messages on stderr\n"
	"  -d, --debug            the same, and show every request\n"
	"  -h, --help             this text\n"
	"      --json             the outcome as a line of JSON (not with "
	"-f)\n"
	"      --progress WHEN    auto or never, as for every verb\n"
	"  -q, --quiet            errors and warnings only\n"
	"  -v, --verbose          also say what goes on inside (with -f)\n"
	"  -o OPTION[,OPTION]...\n"
	"      cache=SIZE         memory for decoded data (256M)\n"
	"      uid=N, gid=N       owner of all files (who mounts)\n"
	"      umask=OCTAL        permissions that are taken away (0022)\n"
	"      allow_other        other users too, as the permissions say\n"
	"      allow_root         root too\n"
	"      auto_unmount       unmount when the daemon ends however it "
	"ends\n"
	"      fsname=NAME, subtype=NAME   as df and mount show it\n"
	"      ro                 show the points only; nothing is written\n"
	"      formats=F[,F]...   show img, vmdk, vhd, vhdx, vdi, qcow2 (all)\n"
	"      vmfs               VMDK descriptors as ESXi wants them\n"
	"      full_blocks        .vhd and .vhdx without holes, for Windows\n"
	"      many_writers       write to a disk in several formats at once\n"
	"      takeover           take clones from hosts that are dead "
	"(MongoDB)\n"
	"      and what fstab has for every file system: nofail, _netdev, ...\n"
	"\n"
	"Unmount with: umount MOUNTPOINT, or fusermount3 -u MOUNTPOINT\n";

/* Items that libfuse or the kernel takes as they are. */
static const char *const passed_on[] = { "allow_other", "allow_root",
	"auto_unmount", "noexec", "noatime",
	"subtype=", "context=", "fscontext=", "defcontext=", "rootcontext=" };

/*
 * Items that are for mount(8) or systemd, or that say what a mount of hivefs
 * is anyway: without devices and set-uid programs, permissions checked.
 */
static const char *const implied[] = { "defaults", "default_permissions",
	"nosuid", "suid", "nodev", "dev", "exec", "atime", "relatime",
	"norelatime", "strictatime", "nostrictatime", "diratime", "nodiratime",
	"lazytime", "nolazytime", "sync", "async", "auto", "noauto", "user",
	"nouser", "users", "nousers", "owner", "noowner", "group", "nogroup",
	"nofail", "_netdev", "silent", "loud", "user=", "comment=", "x-",
	"X-" };

/* Names that end in = or - stand for all that begins so. */
static bool is_one_of(const char *item, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(names[i]);
		bool begins =
			names[i][len - 1] == '=' || names[i][len - 1] == '-';

		if (begins ? strncmp(item, names[i], len) == 0
			   : strcmp(item, names[i]) == 0)
			return true;
	}
	return false;
}

/* A whole number in BASE up to MAX behind the = of ITEM. */
static int number(const char *item, int base, unsigned long max, unsigned *ret)
{
	const char *text = strchr(item, '=') + 1;
	unsigned long v;
	char *end;

	errno = 0;
	v = strtoul(text, &end, base);
	if (text[0] < '0' || text[0] > '9' || *end || errno || v > max)
		return fail(EINVAL, "option %s: not %s", item,
			base == 8 ? "octal permissions" : "a number");
	*ret = (unsigned)v;
	return 0;
}

/*
 * The rows that are named as the format called NAME is, or as its ending ends:
 * a VMDK is a descriptor and an extent.
 */
static int add_format(struct mount_options *o, const char *name)
{
	const struct format *named = format_find(name), *f;

	if (!named)
		return fail(EINVAL,
			"option formats: '%s' is not img, vmdk, vhd, vhdx, vdi "
			"or qcow2",
			name);
	for (size_t i = 0; (f = format_at(i)); i++)
		if (strcmp(strrchr(f->ending, '.'), named->ending) == 0)
			o->formats |= UINT32_C(1) << i;
	return 0;
}

/* Items that are set by being there. */
static bool parse_flag(struct mount_options *o, const char *item)
{
	const struct {
		const char *name;
		bool *flag;
	} flags[] = {
		{ "vmfs", &o->vmfs },
		{ "full_blocks", &o->full_blocks },
		{ "many_writers", &o->many_writers },
		{ "takeover", &o->takeover },
	};

	for (size_t i = 0; i < N_ELEMS(flags); i++)
		if (strcmp(item, flags[i].name) == 0)
			return *flags[i].flag = true;
	return false;
}

static int parse_item(struct mount_options *o, const char *item)
{
	char text[16];

	if (!*item || parse_flag(o, item))
		return 0;
	/* its list has commas, too */
	if (strncmp(item, "formats=", 8) == 0)
		return add_format(o, item + 8);
	if (o->formats && format_find(item))
		return add_format(o, item);
	if (strcmp(item, "ro") == 0 || strcmp(item, "rw") == 0) {
		o->read_only = item[1] == 'o';
		return 0;
	}
	if (strncmp(item, "cache=", 6) == 0) {
		if (size_parse(item + 6, &o->cache) < 0 ||
			o->cache < CACHE_LEAST)
			return fail(EINVAL,
				"option %s: not a size of at least %s", item,
				size_text(CACHE_LEAST, text));
		return 0;
	}
	if (strncmp(item, "uid=", 4) == 0)
		return number(item, 10, UINT32_MAX - 1, &o->uid);
	if (strncmp(item, "gid=", 4) == 0)
		return number(item, 10, UINT32_MAX - 1, &o->gid);
	if (strncmp(item, "umask=", 6) == 0)
		return number(item, 8, 0777, &o->umask);
	if (strncmp(item, "fsname=", 7) == 0) {
		free(o->fsname);
		o->fsname = strdup(item + 7);
		return o->fsname ? 0 : fail(ENOMEM, "options: %m");
	}
	if (is_one_of(item, passed_on, N_ELEMS(passed_on)))
		return fuse_opt_add_opt_escaped(&o->fuse, item) < 0
			       ? fail(ENOMEM, "options: %m")
			       : 0;
	if (is_one_of(item, implied, N_ELEMS(implied)))
		return 0;
	if (o->formats)
		return fail(EINVAL,
			"'%s': neither a format of formats= nor a mount "
			"option; see hivefs mount --help",
			item);
	return fail(EINVAL,
		"unknown mount option '%s'; see hivefs mount --help", item);
}

/* Items are separated by commas; \, and \\ are characters of an item. */
static int parse_items(struct mount_options *o, const char *text)
{
	scoped(freep) char *item = malloc(strlen(text) + 1);
	int r = 0;

	if (!item)
		return fail(ENOMEM, "options: %m");
	while (r == 0) {
		size_t n = 0;

		for (; *text && *text != ','; text++) {
			if (*text == '\\' && text[1])
				text++;
			item[n++] = *text;
		}
		item[n] = 0;
		r = parse_item(o, item);
		if (!*text)
			break;
		text++;
	}
	return r;
}

static int parse_operands(struct mount_options *o, int n, char **operand)
{
	if (n < 1)
		return fail(EINVAL,
			"where to mount is missing; see hivefs mount --help");
	if (n > 2)
		return fail(EINVAL,
			"'%s' is one word too many; see hivefs mount --help",
			operand[2]);
	if (n == 2 && o->repo)
		return fail(EINVAL, "two repositories: '%s' and '%s'", o->repo,
			operand[0]);
	if (n == 2)
		o->repo = operand[0];
	o->mountpoint = operand[n - 1];
	return 0;
}

static int parse_words(struct mount_options *o, int argc, char **argv)
{
	static const struct option words[] = {
		{ "repo", required_argument, NULL, 'r' },
		{ "options", required_argument, NULL, 'o' },
		{ "foreground", no_argument, NULL, 'f' },
		{ "debug", no_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "json", no_argument, NULL, 'j' },
		{ "progress", required_argument, NULL, 'p' },
		{ NULL, 0, NULL, 0 },
	};
	int c, r = 0;

	opterr = 0;
	optind = 0; /* glibc: from the beginning */
	while (r == 0 &&
		/* NOLINTNEXTLINE(concurrency-mt-unsafe): before threads */
		(c = getopt_long(argc, argv, ":r:o:fdhqv", words, NULL)) !=
			-1) {
		switch (c) {
		case 'r':
			o->repo = optarg;
			break;
		case 'o':
			r = parse_items(o, optarg);
			break;
		case 'd':
			o->debug = true;
			o->foreground = true;
			break;
		case 'f':
			o->foreground = true;
			break;
		case 'h':
			o->help = true;
			return 0;
		case 'q':
			o->quiet = true;
			break;
		case 'v':
			o->verbose = true;
			break;
		case 'j':
			o->json = true;
			break;
		case 'p': /* there is none to show */
			if (strcmp(optarg, "auto") != 0 &&
				strcmp(optarg, "never") != 0)
				r = fail(EINVAL,
					"--progress: '%s' is not auto or "
					"never; see hivefs mount --help",
					optarg);
			break;
		case ':':
			return fail(EINVAL, "option '%s' needs an argument",
				argv[optind - 1]);
		default:
			return fail(EINVAL,
				"unknown option '%s'; see hivefs mount --help",
				argv[optind - 1]);
		}
	}
	if (r == 0 && o->json && o->foreground)
		return fail(EINVAL, "--json: is not for -f and -d, whose "
				    "messages are those of a daemon");
	return r ? r : parse_operands(o, argc - optind, argv + optind);
}

int options_parse(
	const char *repo, int argc, char **argv, struct mount_options *ret)
{
	struct mount_options o = { .repo = repo,
		.cache = CACHE_DEFAULT,
		.uid = getuid(),
		.gid = getgid(),
		.umask = 0022 };
	int r = parse_words(&o, argc, argv);

	if (!o.formats)
		o.formats = UINT32_MAX;
	if (r < 0)
		options_fini(&o);
	else
		*ret = o;
	return r;
}

void options_fini(struct mount_options *o)
{
	free(o->fsname);
	free(o->fuse);
	o->fsname = o->fuse = NULL;
}

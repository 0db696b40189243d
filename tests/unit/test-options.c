/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of a mount: what people, fstab and mount.fuse3 say, and what
 * they must not.
 */
#undef NDEBUG
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#undef fail /* log.h's is another */

#include "formats/format.h"
#include "fs/options.h"
#include "src/log.h"
#include "src/url.h"

static char said[512];

static void note(enum log_level level, const char *text)
{
	(void)level;
	snprintf(said, sizeof(said), "%s", text);
}

/* LINE split at blanks, behind a program's name. */
static int parse(const char *line, struct mount_options *ret)
{
	static char copy[512];
	char program[] = "hivefs", *argv[16] = { program }, *rest;
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *w = strtok_r(copy, " ", &rest); w;
		w = strtok_r(NULL, " ", &rest))
		argv[argc++] = w;
	said[0] = 0;
	return options_parse(NULL, argc, argv, ret);
}

static void defaults(void **state)
{
	struct mount_options o;

	(void)state;
	assert_int_equal(parse("/mnt", &o), 0);
	assert_null(o.repo);
	assert_string_equal(o.mountpoint, "/mnt");
	assert_false(o.foreground || o.debug || o.help);
	assert_int_equal(o.cache, 256 << 20);
	assert_int_equal(o.uid, getuid());
	assert_int_equal(o.umask, 022);
	assert_null(o.fuse);
	assert_null(o.fsname);
	assert_int_equal(o.formats, UINT32_MAX);
	assert_false(o.vmfs || o.full_blocks || o.many_writers);
	options_fini(&o);
}

/* A list with commas among items with commas; a VMDK is two files. */
static void formats(void **state)
{
	struct mount_options o;
	unsigned n = 0;

	(void)state;
	assert_int_equal(
		parse("/mnt -o vmfs,takeover,formats=img,vhdx,ro,many_writers",
			&o),
		0);
	assert_true(o.vmfs && o.many_writers && o.read_only && o.takeover);
	assert_false(o.full_blocks);
	for (size_t i = 0; format_at(i); i++) {
		bool shown = o.formats >> i & 1;

		n += shown;
		assert_int_equal(shown,
			strcmp(format_at(i)->ending, ".img") == 0 ||
				strcmp(format_at(i)->ending, ".vhdx") == 0);
	}
	assert_int_equal(n, 2);
	options_fini(&o);
	assert_int_equal(parse("/mnt -o formats=vmdk -o full_blocks", &o), 0);
	assert_true(o.full_blocks);
	for (size_t i = n = 0; format_at(i); i++)
		n += o.formats >> i & 1;
	assert_int_equal(n, 2);
	options_fini(&o);
	assert_int_equal(parse("/mnt -o formats=img,floppy", &o), -EINVAL);
	assert_int_equal(parse("/mnt -o formats=", &o), -EINVAL);
	assert_non_null(strstr(said, "is not img, vmdk"));
	assert_int_equal(parse("/mnt -o img", &o), -EINVAL);
}

static void all_of_them(void **state)
{
	struct mount_options o;

	(void)state;
	assert_int_equal(
		parse("/r /mnt -f -o cache=1.5G,uid=7,gid=0,umask=77 "
		      "-o allow_other,,fsname=a\\,b\\\\c,subtype=x\\,y,noexec",
			&o),
		0);
	assert_string_equal(o.repo, "/r");
	assert_string_equal(o.mountpoint, "/mnt");
	assert_true(o.foreground);
	assert_int_equal(o.cache, 3 << 29);
	assert_int_equal(o.uid, 7);
	assert_int_equal(o.gid, 0);
	assert_int_equal(o.umask, 077);
	assert_string_equal(o.fsname, "a,b\\c");
	assert_string_equal(o.fuse, "allow_other,subtype=x\\,y,noexec");
	options_fini(&o);

	/* options may come first or last, and -r stands for the first word */
	assert_int_equal(parse("-o ro -r /r -d /mnt", &o), 0);
	assert_string_equal(o.repo, "/r");
	assert_string_equal(o.mountpoint, "/mnt");
	assert_true(o.debug && o.foreground);
	assert_null(o.fuse);
	options_fini(&o);
	assert_int_equal(parse("--help", &o), 0);
	assert_true(o.help);
	options_fini(&o);
}

static void of_fstab(void **state)
{
	struct mount_options o;

	(void)state;
	assert_int_equal(
		parse("/r /mnt -o rw,nosuid,nodev,noauto,nofail,_netdev,user,"
		      "x-systemd.automount,X-mount.mkdir,comment=a=b,relatime,"
		      "defaults,default_permissions,dev,suid",
			&o),
		0);
	assert_null(o.fuse);
	options_fini(&o);
}

static void wrong(void **state)
{
	static const struct {
		const char *line, *says;
	} lines[] = {
		{ "", "where to mount" },
		{ "a b c", "'c'" },
		{ "-r a b c", "two repositories" },
		{ "/mnt -o nonsense", "'nonsense'" },
		{ "/mnt -o rox", "'rox'" },
		{ "/mnt -o ro=1", "'ro=1'" },
		{ "/mnt -o cache=", "cache=" },
		{ "/mnt -o cache=15M", "at least 16" },
		{ "/mnt -o uid=-1", "uid=-1" },
		{ "/mnt -o uid=4294967295", "uid=" },
		{ "/mnt -o gid=", "gid=" },
		{ "/mnt -o umask=1000", "umask=1000" },
		{ "/mnt -o umask=9", "umask=9" },
		{ "/mnt -x", "'-x'" },
		{ "/mnt --nonsense", "'--nonsense'" },
		{ "/mnt -o", "'-o' needs" },
	};
	struct mount_options o;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_int_equal(parse(lines[i].line, &o), -EINVAL);
		if (!strstr(said, lines[i].says))
			print_error("%s: said '%s'\n", lines[i].line, said);
		assert_non_null(strstr(said, lines[i].says));
	}
}

static void check_public(const char *url, const char *want)
{
	char *text = url_public(url);

	assert_string_equal(text, want);
	free(text);
}

/* What others can see of a location has no secrets in it. */
static void urls(void **state)
{
	(void)state;
	check_public("/srv/a@b", "/srv/a@b");
	check_public("file:///srv/a@b", "file:///srv/a@b");
	check_public("mongodb://h1,h2:1/db?x=y@z", "mongodb://h1,h2:1/db");
	check_public("mongodb://h/?tlsCertificateKeyFilePassword=secret",
		"mongodb://h/");
	check_public("mongodb://me:secret@h/db", "mongodb://h/db");
	check_public("mongodb+srv://me:se@cret@h", "mongodb+srv://h");
	assert_string_equal(url_directory("/srv/a"), "/srv/a");
	assert_string_equal(url_directory("file:///srv/a"), "/srv/a");
	assert_null(url_directory("mongodb://h/db"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(formats),
		cmocka_unit_test(all_of_them),
		cmocka_unit_test(of_fstab),
		cmocka_unit_test(wrong),
		cmocka_unit_test(urls),
	};

	log_set_sink(note);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

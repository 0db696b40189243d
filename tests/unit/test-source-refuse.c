/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is not backed up, and the sentence that says so: files that are no
 * disk, headers that a guest may have forged, images that name files they
 * should not, and disks that something writes to.
 */
#define _GNU_SOURCE
#undef NDEBUG
#include "tests/unit/source_help.h"

#include <errno.h>

#include "src/in_use.h"

struct refusal {
	const char *make; /* command */
	const char *path;
	const char *format;
	int result; /* 0: it is opened */
	const char *words;
};

struct reference {
	const char *make;
	const char *path;
	int result;
	int outside; /* the same where backing files may be outside */
	const char *words;
};

#define CREATE "qemu-img create -q -f "

static const struct refusal refusals[] = {
	{ "true", "none.img", NULL, -ENOENT, "No such file" },
	{ ": >empty.img", "empty.img", NULL, -EINVAL, "is empty" },
	{ ": >empty.qcow2", "empty.qcow2", NULL, -EINVAL, "is empty" },
	{ "head -c 1000 disk.img >odd.img", "odd.img", NULL, -EINVAL,
		"1000 bytes, is not a multiple of 512" },
	{ "mkdir dir", "dir", NULL, -EINVAL, "is a directory" },
	{ "mkfifo fifo", "fifo", NULL, -EINVAL, "neither a file nor" },
	{ "true", "disk.img", "qcow", -EINVAL, "no such format" },
	{ "true", "disk.img", "vhdx", -EINVAL, "not vhdx, though --format" },
	{ "cp disk.img not.vmdk", "not.vmdk", NULL, -EINVAL,
		"not vmdk, though its name" },

	/* a magic against the name */
	{ CREATE "qcow2 forged.img 1M && truncate -s 1M forged.img",
		"forged.img", NULL, -EINVAL,
		"looks like qcow2 but its name says raw: say --format qcow2 "
		"or --format raw" },
	{ "true", "forged.img", "raw", 0, NULL },
	{ "true", "forged.img", "vdi", -EINVAL, "looks like qcow2, not vdi" },
	{ CREATE "vpc -o subformat=fixed,force_size=on fixed.raw 1M",
		"fixed.raw", NULL, -EINVAL, "looks like vhd" },
	{ CREATE "vpc dynamic 1M", "dynamic", NULL, -EINVAL, "looks like vhd" },
	{ CREATE "vhdx v.dd 8M", "v.dd", NULL, -EINVAL, "looks like vhdx" },
	{ CREATE "vdi v.bin 8M", "v.bin", NULL, -EINVAL, "looks like vdi" },
	{ CREATE "vmdk v.img 8M", "v.img", NULL, -EINVAL, "looks like vmdk" },

	/* what qemu reads wrongly, or refuses in words that help nobody */
	{ CREATE "vpc diff.vhd 1M && printf '\\000\\000\\000\\004' | dd "
		 "of=diff.vhd bs=1 seek=60 conv=notrunc 2>/dev/null",
		"diff.vhd", NULL, -EINVAL, "a differencing VHD:" },
	{ CREATE "vhdx diff.vhdx 8M && printf '\\002' | dd of=diff.vhdx bs=1 "
		 "seek=$((3145728 + 65536 + 4)) conv=notrunc 2>/dev/null",
		"diff.vhdx", NULL, -EINVAL, "a differencing VHDX" },
	{ CREATE "vhdx log.vhdx 8M && printf x | dd of=log.vhdx bs=1 "
		 "seek=$((131072 + 48)) conv=notrunc 2>/dev/null",
		"log.vhdx", NULL, -EINVAL, "its log is not replayed" },
	{ CREATE "qcow2 bad.qcow2 1M && printf '\\377\\377\\377\\377' | dd "
		 "of=bad.qcow2 bs=1 seek=40 conv=notrunc 2>/dev/null",
		"bad.qcow2", NULL, -EIO, "bad.qcow2: cannot be opened: " },
	{ CREATE "qcow2 cut.qcow2 1M && truncate -s 50 cut.qcow2", "cut.qcow2",
		NULL, -EINVAL, "damaged: its header is cut off" },
};

static const struct reference references[] = {
	{ "cp disk.img vm/sub/in.img && " CREATE
	  "qcow2 -b sub/in.img -F raw vm/inside.qcow2",
		"vm/inside.qcow2", 0, 0, NULL },
	{ CREATE "qcow2 -b ../outside.img -F raw vm/o.qcow2", "vm/o.qcow2",
		-EINVAL, 0, "is outside of the image's own folder" },
	{ CREATE "qcow2 -b o.qcow2 -F qcow2 vm/p.qcow2", "vm/p.qcow2", -EINVAL,
		0, "is outside of the image's own folder" },
	{ "ln -s ../outside.img vm/link.img && " CREATE
	  "qcow2 -b link.img -F raw vm/l.qcow2",
		"vm/l.qcow2", -EINVAL, 0, "is outside" },
	{ CREATE "qcow2 -o data_file=$PWD/far.raw vm/d.qcow2 1M", "vm/d.qcow2",
		-EINVAL, 0, "its data file" },
	{ CREATE "vmdk -o subformat=monolithicFlat vm/f.vmdk 1M && "
		 "mv vm/f-flat.vmdk far-flat.vmdk && "
		 "sed -i 's,f-flat,../far-flat,' vm/f.vmdk",
		"vm/f.vmdk", -EINVAL, 0, "its extent" },
	{ CREATE "vmdk base.vmdk 1M && " CREATE
		 "vmdk -b ../base.vmdk -F vmdk vm/delta.vmdk",
		"vm/delta.vmdk", -EINVAL, 0, "its backing file" },
	{ "sed 's,^RW [0-9]* FLAT,RW 2048 ZERO,' vm/f.vmdk >vm/z.vmdk",
		"vm/z.vmdk", -EINVAL, -EINVAL, "an extent qemu cannot read" },
	/* a header of 0 sectors sends qemu to a descriptor in the file */
	{ CREATE "vmdk vm/c.vmdk 1M && dd if=/dev/zero of=vm/c.vmdk bs=1 "
		 "seek=12 count=8 conv=notrunc 2>/dev/null",
		"vm/c.vmdk", -EINVAL, -EINVAL, "its capacity is 0" },
	{ CREATE "qcow2 -u -b nbd://localhost/x -F raw vm/n.qcow2 1M",
		"vm/n.qcow2", -EINVAL, -EINVAL, "is not a plain file" },
	{ CREATE "qcow2 -u -b 'json:{\"driver\":\"file\"}' -F raw vm/j.qcow2 "
		 "1M",
		"vm/j.qcow2", -EINVAL, -EINVAL, "is not a plain file" },
	{ CREATE "qcow2 -u -b gone.qcow2 -F qcow2 vm/g.qcow2 1M", "vm/g.qcow2",
		-ENOENT, -ENOENT, "gone.qcow2: No such file" },
	{ CREATE "qcow2 -u -b loop.qcow2 -F qcow2 vm/loop.qcow2 1M",
		"vm/loop.qcow2", -EINVAL, -EINVAL, "more than 64 layers" },
	/* a backing file without a format is raw by its name: not probed */
	{ "cp forged.img vm/b.img && " CREATE
	  "qcow2 -b b.img -F qcow2 vm/b.qcow2 && printf none | dd "
	  "of=vm/b.qcow2 bs=1 seek=112 conv=notrunc 2>/dev/null",
		"vm/b.qcow2", -EINVAL, -EINVAL, "vm/b.img: looks like qcow2" },
};

static void check(const char *path, const char *format, bool outside,
	int result, const char *words)
{
	struct blk *b = NULL;
	int r = open_source(in_folder(path), format, false, outside, &b);

	if (r == 0)
		blk_close(b);
	assert_int_equal(r, result);
	if (r < 0 && words && !strstr(said, words))
		assert_string_equal(said, words);
	/* one sentence, and never qemu's options */
	assert_null(strchr(said, '\n'));
	assert_null(strstr(said, "file.filename"));
}

static void each_is_refused_in_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_ELEMS(refusals); i++) {
		const struct refusal *t = &refusals[i];

		print_message("%s\n", t->path);
		assert_int_equal(run("%s", t->make), 0);
		check(t->path, t->format, false, t->result, t->words);
	}
}

static void what_an_image_names(void **state)
{
	(void)state;
	assert_int_equal(run("mkdir -p vm/sub && cp disk.img outside.img"), 0);
	for (size_t i = 0; i < N_ELEMS(references); i++) {
		const struct reference *t = &references[i];

		print_message("%s\n", t->path);
		assert_int_equal(run("%s", t->make), 0);
		check(t->path, NULL, false, t->result, t->words);
		check(t->path, NULL, true, t->outside, NULL);
	}
}

static void uris_are_checked(void **state)
{
	struct blk *b;
	char uri[8192];

	(void)state;
	assert_int_equal(
		open_source("http://x/disk.img", NULL, false, false, &b),
		-EINVAL);
	assert_int_equal(
		open_source("nbd://x/", "qcow2", false, false, &b), -EINVAL);
	assert_int_equal(open_source("nbd+unix:///?socket=/none", NULL, false,
				 false, &b),
		-ENOENT);
	assert_non_null(strstr(said, "/none"));
	snprintf(uri, sizeof(uri), "nbd+unix:///?socket=%s",
		in_folder("server.sock"));
	assert_int_equal(
		run("nbdkit -r -U server.sock -P server.pid null size=65T"), 0);
	assert_int_equal(open_source(uri, NULL, false, false, &b), -EINVAL);
	assert_non_null(strstr(said, "65.0 TiB is more than"));
	/* a socket is no disk */
	assert_int_equal(
		open_source(in_folder("server.sock"), NULL, false, false, &b),
		-EINVAL);
	stop_server();
	assert_int_equal(
		run("nbdkit -r -U server.sock -P server.pid null size=1000"),
		0);
	assert_int_equal(open_source(uri, NULL, false, false, &b), -EINVAL);
	assert_non_null(strstr(said, "not a multiple of 512"));
	stop_server();
}

static void no_qemu_nbd(void **state)
{
	char *path = strdup(getenv("PATH"));
	struct blk *b;

	(void)state;
	assert_int_equal(run(CREATE "qcow2 alone.qcow2 1M"), 0);
	setenv("PATH", "/nowhere", 1);
	assert_int_equal(
		open_source(in_folder("alone.qcow2"), NULL, false, false, &b),
		-EIO);
	setenv("PATH", path, 1);
	free(path);
	assert_non_null(strstr(said, "is qemu-utils installed?"));
}

/* Reads of an image while something else has it are a success that tells. */
static void check_in_use(const char *name)
{
	const struct source_options options = { .in_use = true };
	bool used = false;
	struct blk *b;
	char buf[512];

	assert_int_equal(
		open_source(in_folder(name), NULL, false, false, &b), -EBUSY);
	assert_non_null(strstr(said, "is in use (a running virtual machine?)"));
	assert_int_equal(source_open(in_folder(name), &options, &b, &used), 0);
	assert_true(used);
	assert_int_equal(blk_pread(b, buf, sizeof(buf), 0), 0);
	blk_close(b);
}

static void an_image_that_qemu_writes_to(void **state)
{
	static const char *const images[][2] = {
		{ "raw", "used.img" },
		{ "qcow2", "used.qcow2" },
		{ "vmdk", "used.vmdk" },
		{ "vpc", "used.vhd" },
		{ "vdi", "used.vdi" },
	};

	(void)state;
	for (size_t i = 0; i < N_ELEMS(images); i++) {
		const char *name = images[i][1];
		char command[8192];
		struct blk *b;
		FILE *qemu;
		int fd;

		print_message("%s\n", name);
		assert_int_equal(run(CREATE "%s %s 8M", images[i][0], name), 0);
		snprintf(command, sizeof(command),
			"exec qemu-io -f %s '%s' >/dev/null", images[i][0],
			in_folder(name));
		qemu = popen(command, "we");
		assert_non_null(qemu);
		/* opened as a source too early, it would be refused its lock */
		fd = open(in_folder(name), O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		while (in_use(fd, name) == 0)
			sleep_ms(2);
		close(fd);
		/* from open for writing to locked */
		sleep_ms(100);
		check_in_use(name);
		fputs("quit\n", qemu);
		pclose(qemu);
		assert_int_equal(
			open_source(in_folder(name), NULL, false, false, &b),
			0);
		blk_close(b);
	}
}

/* VirtualBox and VMware take no locks; nor does a copy that is not done. */
static void a_file_open_for_writing(void **state)
{
	static const char *const names[][2] = { { "w.img", "w.img" },
		{ "w.vmdk", "w-flat.vmdk" } };

	(void)state;
	assert_int_equal(run("cp disk.img w.img && " CREATE
			     "vmdk -o subformat=monolithicFlat w.vmdk 1M"),
		0);
	for (size_t i = 0; i < N_ELEMS(names); i++) {
		int fd = open(in_folder(names[i][1]), O_WRONLY | O_CLOEXEC);
		struct blk *b;

		assert_true(fd >= 0);
		check_in_use(names[i][0]);
		close(fd);
		assert_int_equal(open_source(in_folder(names[i][0]), NULL,
					 false, false, &b),
			0);
		blk_close(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_refused_in_words),
		cmocka_unit_test(what_an_image_names),
		cmocka_unit_test(uris_are_checked),
		cmocka_unit_test(no_qemu_nbd),
		cmocka_unit_test(an_image_that_qemu_writes_to),
		cmocka_unit_test(a_file_open_for_writing),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

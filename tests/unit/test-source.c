/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every kind of source gives the bytes of the same disk: at random offsets,
 * from several threads, and its zero extents are zero. And what becomes of a
 * qemu-nbd when one of the two ends is killed.
 */
#define _GNU_SOURCE
#undef NDEBUG
#include "tests/unit/source_help.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "src/blk_nbd.h"
#include "src/pool.h"

#define QEMU_NBD "qemu-nbd -r -t --shared=4 --fork --pid-file=server.pid "
#define NBDKIT "nbdkit -r -U server.sock -P server.pid "
#define SOCKET "nbd+unix:///?socket="

struct row {
	const char *spec;   /* a file in the folder, or a scheme */
	const char *make;   /* command */
	const char *format; /* option */
	bool tells_zeroes;  /* finds more than half of them */
};

#define CONVERT "qemu-img convert -f raw disk.img -S 4k -O "

static const struct row rows[] = {
	{ "disk.img", "true", NULL, true },
	{ "disk", "cp disk.img disk", "raw", true },
	{ "a.qcow2", CONVERT "qcow2 a.qcow2", NULL, true },
	{ "b.QCOW2", CONVERT "qcow2 -c b.QCOW2", NULL, true },
	{ "c.bin", CONVERT "qcow2 -o compat=0.10 c.bin", "qcow2", true },
	{ "a,b.qcow2", "cp a.qcow2 a,b.qcow2", NULL, true },
	{ "top.qcow2",
		"qemu-img create -q -f qcow2 -b disk.img -F raw mid.qcow2 && "
		"qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2",
		NULL, true },
	/* no format on record: by the backing file's name */
	{ "old.qcow2",
		"qemu-img create -q -f qcow2 -b a.qcow2 -F qcow2 old.qcow2 && "
		"printf none | dd of=old.qcow2 bs=1 seek=112 conv=notrunc "
		"2>/dev/null",
		NULL, true },
	{ "data.qcow2",
		CONVERT "qcow2 -o data_file=data.raw,data_file_raw=on "
			"data.qcow2",
		NULL, false },
	{ "sparse.vmdk", CONVERT "vmdk sparse.vmdk", NULL, false },
	{ "flat.vmdk", CONVERT "vmdk -o subformat=monolithicFlat flat.vmdk",
		NULL, true },
	{ "stream.vmdk",
		CONVERT "vmdk -o subformat=streamOptimized stream.vmdk", NULL,
		false },
	{ "split.vmdk",
		CONVERT "vmdk -o subformat=twoGbMaxExtentSparse split.vmdk",
		NULL, false },
	{ "delta.vmdk",
		"qemu-img create -q -f vmdk -b sparse.vmdk -F vmdk delta.vmdk",
		NULL, false },
	{ "dynamic.vhd", CONVERT "vpc -o force_size=on dynamic.vhd", NULL,
		false },
	{ "fixed.vhd", CONVERT "vpc -o force_size=on,subformat=fixed fixed.vhd",
		NULL, false },
	{ "a.vhdx", CONVERT "vhdx a.vhdx", NULL, false },
	{ "a.vdi", CONVERT "vdi a.vdi", NULL, false },
	{ SOCKET, QEMU_NBD "-f raw -k $PWD/server.sock disk.img", NULL, true },
	{ SOCKET, NBDKIT "file disk.img", "raw", true },
	/* small and large requests are refused, so they must not be made */
	{ SOCKET,
		NBDKIT "--filter=blocksize-policy file disk.img "
		       "blocksize-minimum=4096 blocksize-maximum=65536 "
		       "blocksize-error-policy=error",
		NULL, true },
	/* no block status at all */
	{ SOCKET, NBDKIT "--filter=noextents file disk.img", NULL, false },
	/* one connection, and nothing that a modern server would tell */
	{ SOCKET,
		NBDKIT "--no-sr --filter=multi-conn file disk.img "
		       "multi-conn-mode=disable",
		NULL, false },
};

static int read_random(void *arg, uint64_t i, unsigned thread)
{
	struct blk *b = arg;
	uint64_t seed = (i + 1) * 0x9e3779b97f4a7c15ULL;
	uint64_t off = (seed >> 20) % DISK_SIZE;
	size_t len = (size_t)((seed >> 7) % (300 << (i % 11)));
	unsigned char *buf;
	struct blk_extent e;
	int r;

	(void)thread;
	len = MIN_OF(len, DISK_SIZE - off);
	buf = malloc(len + 1);
	if (!buf)
		return -ENOMEM;
	r = blk_pread(b, buf, len, off);
	if (r == 0 && memcmp(buf, oracle + off, len) != 0)
		r = -EBADMSG;
	free(buf);
	if (r == 0)
		r = blk_extent(b, off, DISK_SIZE - off, &e);
	if (r == 0 && e.kind == BLK_ZERO && !is_zero(oracle + off, e.len))
		r = -EBADMSG;
	return r;
}

static uint64_t zeroes_of_oracle(void)
{
	uint64_t n = 0;

	for (uint64_t off = 0; off < DISK_SIZE; off += 4096)
		n += is_zero(oracle + off, 4096) ? 4096 : 0;
	return n;
}

static void check(struct blk *b, bool tells_zeroes)
{
	uint64_t zeroes = 0;
	struct blk_extent e;

	assert_int_equal(b->size, DISK_SIZE);
	for (uint64_t off = 0; off < DISK_SIZE; off += e.len) {
		assert_int_equal(blk_extent(b, off, DISK_SIZE - off, &e), 0);
		assert_true(e.len > 0 && e.len <= DISK_SIZE - off);
		if (e.kind == BLK_ZERO) {
			assert_true(is_zero(oracle + off, e.len));
			zeroes += e.len;
		}
	}
	if (tells_zeroes)
		assert_true(zeroes > zeroes_of_oracle() / 2);
	assert_int_equal(parallel_for(6, 600, read_random, b), 0);
	assert_int_equal(blk_changed(b), 0);
	assert_int_equal(blk_pwrite(b, "x", 1, 0), -EROFS);
}

static void every_row_holds_the_contract(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_ELEMS(rows); i++) {
		const struct row *row = &rows[i];
		bool is_uri = strcmp(row->spec, SOCKET) == 0;
		char spec[8192];
		struct blk *b;

		print_message("%s: %s\n", row->spec, row->make);
		assert_int_equal(run("%s", row->make), 0);
		snprintf(spec, sizeof(spec), "%s%s/%s", is_uri ? SOCKET : "",
			folder, is_uri ? "server.sock" : row->spec);
		if (open_source(spec, row->format, false, false, &b) < 0)
			print_error("%s\n", said);
		assert_string_equal(said, "");
		check(b, row->tells_zeroes);
		blk_close(b);
		if (is_uri)
			stop_server();
	}
}

static void block_device(void **state)
{
	char device[64] = "";
	struct blk *b;
	FILE *f;
	int busy;

	(void)state;
	if (run("losetup --sector-size 512 -r -f --show disk.img >loop "
		"2>/dev/null") != 0)
		skip();
	f = fopen(in_folder("loop"), "re");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%63s", device), 1);
	fclose(f);
	assert_int_equal(open_source(device, NULL, false, false, &b), 0);
	assert_int_equal(b->sector_size, 512);
	check(b, false);
	blk_close(b);
	busy = open(device, O_RDONLY | O_EXCL | O_CLOEXEC);
	assert_true(busy >= 0);
	assert_int_equal(open_source(device, NULL, false, false, &b), -EBUSY);
	assert_int_equal(open_source(device, NULL, true, false, &b), 0);
	blk_close(b);
	close(busy);
	assert_int_equal(run("losetup -d %s", device), 0);
}

/* 4 GiB a round trip: 16,384 of them, not one for every question */
static void huge_sparse_export(void **state)
{
	const uint64_t step = 4 << 20;
	struct blk_extent e;
	struct blk *b;

	(void)state;
	assert_int_equal(run(NBDKIT "null size=64T"), 0);
	snprintf(said, sizeof(said), "%s%s", SOCKET, in_folder("server.sock"));
	assert_int_equal(blk_nbd_open(said, &b), 0);
	assert_int_equal(b->size, 64ULL << 40);
	for (uint64_t off = 0; off < b->size; off += step) {
		assert_int_equal(blk_extent(b, off, step, &e), 0);
		assert_int_equal(e.kind, BLK_ZERO);
		/* to the end of the reply, which is not aligned to STEP */
		while (e.len < step) {
			struct blk_extent next;

			assert_int_equal(
				blk_extent(b, off + e.len, step - e.len, &next),
				0);
			assert_int_equal(next.kind, BLK_ZERO);
			e.len += next.len;
		}
	}
	blk_close(b);
	stop_server();
}

static void a_change_is_noticed(void **state)
{
	static const char *const names[] = { "copy.img", "copy.qcow2" };
	struct blk *b;

	(void)state;
	assert_int_equal(
		run("cp disk.img copy.img && cp a.qcow2 copy.qcow2"), 0);
	for (size_t i = 0; i < N_ELEMS(names); i++) {
		assert_int_equal(open_source(in_folder(names[i]), NULL, false,
					 false, &b),
			0);
		assert_int_equal(blk_changed(b), 0);
		assert_int_equal(run("touch %s", names[i]), 0);
		assert_int_equal(blk_changed(b), 1);
		blk_close(b);
	}
	assert_int_equal(
		open_source(in_folder("copy.img"), NULL, false, false, &b), 0);
	assert_int_equal(run("truncate -s 1M copy.img"), 0);
	assert_int_equal(blk_pread(b, said, 512, DISK_SIZE - 512), -EIO);
	assert_non_null(strstr(said, "shrank"));
	blk_close(b);
}

static void a_killed_server_is_an_error(void **state)
{
	char buf[512];
	struct blk *b;
	pid_t pid;

	(void)state;
	assert_int_equal(
		open_source(in_folder("a.qcow2"), NULL, false, false, &b), 0);
	pid = find_qemu_nbd(getpid());
	assert_true(pid > 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	while (is_running(pid))
		sleep_ms(1);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(blk_pread(b, buf, sizeof(buf), 0), -EIO);
	assert_non_null(strstr(said, "a.qcow2: offset 0: "));
	assert_int_equal(blk_changed(b), 1);
	blk_close(b);
	assert_int_equal(find_qemu_nbd(getpid()), 0);
}

static void *open_in_thread(void *arg)
{
	struct blk **ret = arg;

	if (open_source(in_folder("a.qcow2"), NULL, false, false, ret) < 0)
		*ret = NULL;
	return NULL;
}

/* A parent-death signal is sent when the thread that forked ends. */
static void a_server_outlives_the_thread_that_opened_it(void **state)
{
	struct blk *b;
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, open_in_thread, &b), 0);
	pthread_join(t, NULL);
	assert_non_null(b);
	sleep_ms(50);
	assert_int_equal(parallel_for(2, 20, read_random, b), 0);
	blk_close(b);
}

static void no_server_is_left_by_a_killed_process(void **state)
{
	pid_t child, server;
	struct blk *b;
	int ready[2];
	char byte;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (open_source(in_folder("a.qcow2"), NULL, false, false, &b) <
				0 ||
			write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	server = find_qemu_nbd(child);
	assert_true(server > 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	for (unsigned i = 0; i < 500 && is_running(server); i++)
		sleep_ms(10);
	assert_false(is_running(server));
	/* nor its folder */
	assert_int_not_equal(run("ls -d hivefs-* 2>/dev/null"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_holds_the_contract),
		cmocka_unit_test(block_device),
		cmocka_unit_test(huge_sparse_export),
		cmocka_unit_test(a_change_is_noticed),
		cmocka_unit_test(a_killed_server_is_an_error),
		cmocka_unit_test(a_server_outlives_the_thread_that_opened_it),
		cmocka_unit_test(no_server_is_left_by_a_killed_process),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file as a blk that is written to, blk_compare() and extent_list.
 */
#define _GNU_SOURCE
#undef NDEBUG
#include "tests/unit/source_help.h"

#include <errno.h>

#include "src/blk_file.h"
#include "src/extent_list.h"

static struct blk *open_file(const char *name, bool writable, uint64_t size)
{
	int fd = open(in_folder(name),
		(writable ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC, 0644);
	struct blk *b;

	assert_true(fd >= 0);
	if (writable)
		assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(blk_file_new(fd, name, writable, &b), 0);
	assert_int_equal(b->size, size);
	assert_int_equal(b->sector_size, 512);
	return b;
}

static void written_bytes_are_read_again(void **state)
{
	struct blk *b = open_file("written.img", true, DISK_SIZE);
	struct blk *disk = open_file("disk.img", false, DISK_SIZE);
	struct blk *again;
	uint64_t off;

	(void)state;
	assert_int_equal(blk_compare(b, disk, &off), 1);
	assert_int_equal(off, 0);
	assert_int_equal(blk_pwrite(b, oracle, DISK_SIZE, 0), 0);
	assert_int_equal(blk_compare(b, disk, &off), 0);
	assert_int_equal(blk_flush(b), 0);
	/* one's own writes are no change */
	assert_int_equal(blk_changed(b), 0);
	assert_int_equal(blk_changed(disk), 0);
	blk_close(b);
	again = open_file("written.img", false, DISK_SIZE);
	assert_int_equal(blk_compare(disk, again, &off), 0);
	blk_close(again);
	blk_close(disk);
}

static void a_zeroed_range_is_a_hole(void **state)
{
	struct blk *b = open_file("zeroed.img", true, 4 << 20);
	unsigned char byte = 0;
	struct blk_extent e;

	(void)state;
	assert_int_equal(blk_pwrite(b, oracle, 4 << 20, 0), 0);
	assert_int_equal(blk_pwrite(b, "a", 1, (1 << 20) - 1), 0);
	assert_int_equal(blk_pwrite(b, "z", 1, 2 << 20), 0);
	assert_int_equal(blk_zero(b, 1 << 20, 1 << 20), 0);
	assert_int_equal(blk_zero(b, 5, 0), 0);
	assert_int_equal(blk_extent(b, 1 << 20, 3 << 20, &e), 0);
	assert_int_equal(e.kind, BLK_ZERO);
	assert_int_equal(e.len, 1 << 20);
	assert_int_equal(blk_extent(b, 1 << 20, 512, &e), 0);
	assert_int_equal(e.len, 512);
	assert_int_equal(blk_pread(b, &byte, 1, (1 << 20) - 1), 0);
	assert_int_equal(byte, 'a');
	assert_int_equal(blk_pread(b, &byte, 1, (2 << 20) - 1), 0);
	assert_int_equal(byte, 0);
	assert_int_equal(blk_pread(b, &byte, 1, 2 << 20), 0);
	assert_int_equal(byte, 'z');
	/* within a block, nothing can be given back */
	assert_int_equal(blk_zero(b, 2 << 20, 1), 0);
	assert_int_equal(blk_pread(b, &byte, 1, 2 << 20), 0);
	assert_int_equal(byte, 0);
	blk_close(b);
}

static void a_reader_does_not_write(void **state)
{
	struct blk *b = open_file("disk.img", false, DISK_SIZE);

	(void)state;
	assert_int_equal(blk_pwrite(b, "x", 1, 0), -EROFS);
	assert_non_null(strstr(said, "disk.img: write"));
	assert_int_equal(blk_zero(b, 0, 512), -EROFS);
	assert_int_equal(blk_flush(b), 0);
	blk_close(b);
}

static void compare_finds_the_byte(void **state)
{
	static const uint64_t offsets[] = { 0, 4095, (1 << 20) - 1, 1 << 20,
		5000001, DISK_SIZE - 1 };
	struct blk *a = open_file("disk.img", false, DISK_SIZE);
	struct blk *b = open_file("other.img", true, DISK_SIZE);
	struct blk *longer;
	uint64_t off;

	(void)state;
	assert_int_equal(blk_pwrite(b, oracle, DISK_SIZE, 0), 0);
	for (size_t i = 0; i < N_ELEMS(offsets); i++) {
		uint64_t at = offsets[i];
		unsigned char byte = (unsigned char)~oracle[at];

		assert_int_equal(blk_pwrite(b, &byte, 1, at), 0);
		off = 1;
		assert_int_equal(blk_compare(a, b, &off), 1);
		assert_int_equal(off, at);
		assert_int_equal(blk_compare(b, a, &off), 1);
		assert_int_equal(off, at);
		assert_int_equal(blk_pwrite(b, oracle + at, 1, at), 0);
	}
	assert_int_equal(blk_compare(a, b, &off), 0);
	blk_close(b);
	longer = open_file("other.img", true, DISK_SIZE + 512);
	assert_int_equal(blk_compare(a, longer, &off), 1);
	assert_int_equal(off, DISK_SIZE);
	blk_close(longer);
	blk_close(a);
}

static void what_is_no_disk(void **state)
{
	struct blk *b;

	(void)state;
	assert_int_equal(blk_file_new(open("/dev/null", O_RDONLY | O_CLOEXEC),
				 "null", false, &b),
		-EINVAL);
	assert_string_equal(said, "null: neither a file nor a block device");
}

static void extents_of_a_reply(void **state)
{
	struct extent_list l = { .start = 1000 };
	struct blk_extent e;

	(void)state;
	assert_false(extent_list_find(&l, 1000, 1, &e));
	assert_int_equal(extent_list_add(&l, 10, BLK_DATA), 0);
	assert_int_equal(extent_list_add(&l, 20, BLK_ZERO), 0);
	assert_int_equal(extent_list_add(&l, 30, BLK_ZERO), 0);
	assert_int_equal(extent_list_add(&l, 40, BLK_DATA), 0);
	assert_int_equal(l.runs.n, 3);
	assert_false(extent_list_find(&l, 999, 1, &e));
	assert_false(extent_list_find(&l, 1100, 1, &e));
	assert_true(extent_list_find(&l, 1009, 100, &e));
	assert_true(e.kind == BLK_DATA && e.len == 1);
	assert_true(extent_list_find(&l, 1010, 100, &e));
	assert_true(e.kind == BLK_ZERO && e.len == 50);
	assert_true(extent_list_find(&l, 1059, 100, &e));
	assert_true(e.kind == BLK_ZERO && e.len == 1);
	assert_true(extent_list_find(&l, 1060, 7, &e));
	assert_true(e.kind == BLK_DATA && e.len == 7);
	/* a full one ends sooner, it never leaves a gap */
	for (unsigned i = 0; i < EXTENT_LIST_MAX + 9; i++)
		assert_int_equal(
			extent_list_add(&l, 1, i % 2 ? BLK_DATA : BLK_ZERO), 0);
	assert_int_equal(l.runs.n, EXTENT_LIST_MAX);
	extent_list_fini(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_bytes_are_read_again),
		cmocka_unit_test(a_zeroed_range_is_a_hole),
		cmocka_unit_test(a_reader_does_not_write),
		cmocka_unit_test(compare_finds_the_byte),
		cmocka_unit_test(what_is_no_disk),
		cmocka_unit_test(extents_of_a_reply),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

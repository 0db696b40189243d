/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view of any layout gives the bytes [prefix][disk][suffix], wherever a read
 * begins and ends, and tells data from holes. The disk behind it is this
 * test's own: chunks of odd lengths, and zeroes.
 */
#define _GNU_SOURCE
#undef NDEBUG
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#undef fail /* log.h's is another */

#include "fs/view.h"
#include "src/bytes.h"

#define PREFIX 1000u
#define DISK 300000u
#define SUFFIX 1700u
#define ALL (PREFIX + DISK + SUFFIX)

static uint8_t file[ALL];
static unsigned n_pinned;

/* The run at an offset of the disk: 7,000 bytes of data, 5,000 of zeroes, … */
static void run_at(uint64_t off, uint64_t end, struct run *ret)
{
	uint64_t at = round_down(off, 12000);
	bool zero = off - at >= 7000;
	uint64_t run_end = at + (zero ? 12000 : 7000);

	*ret = (struct run){ .off = off,
		.len = MIN_OF(run_end, end) - off,
		.kind = zero ? BLK_ZERO : BLK_DATA };
}

int disk_open(struct cache *c, const char *name, const struct digest *root,
	uint64_t size, uint32_t sector_size, struct disk **ret)
{
	struct disk *d = calloc(1, sizeof(*d));

	(void)root;
	assert_string_equal(name, "web/sda@1970-01-01T00:16:40Z");
	*d = (struct disk){
		.cache = c, .size = size, .sector_size = sector_size
	};
	*ret = d;
	return 0;
}

void disk_close(struct disk *d)
{
	free(d);
}

int disk_run(struct disk *d, uint64_t off, uint64_t end, struct run *ret)
{
	assert_true(off < end && end <= d->size);
	run_at(off, end, ret);
	return 0;
}

int disk_read(struct disk *d, uint64_t off, uint32_t len, struct pieces *ret)
{
	static struct cached some;
	uint64_t end = off + len;
	struct run run;

	assert_true(len > 0 && end <= d->size);
	if (d->sector_size == 4096)
		return -EIO;
	for (; off < end; off += run.len) {
		bool data;

		run_at(off, end, &run);
		data = run.kind == BLK_DATA;
		n_pinned += data;
		assert_int_equal(
			vec_add(ret,
				(struct piece){ .entry = data ? &some : NULL,
					.data = data ? file + PREFIX + off
						     : NULL,
					.len = (uint32_t)run.len }),
			0);
	}
	return 0;
}

void pieces_fini(struct pieces *p)
{
	for (size_t i = 0; i < p->n; i++)
		n_pinned -= p->v[i].entry != NULL;
	vec_fini(p);
}

static int layout(uint64_t guest, uint32_t sector_size, struct layout *ret)
{
	*ret = (struct layout){ .guest = guest,
		.sector_size = sector_size,
		.prefix = PREFIX,
		.disk = guest,
		.suffix = SUFFIX };
	return 0;
}

static int metadata(const struct layout *l, const struct identity *id,
	const struct format_disk *d, uint64_t off, size_t len, uint8_t *out)
{
	(void)id;
	(void)d;
	assert_true(off + len <= l->prefix || off >= l->prefix + l->disk);
	memcpy(out, file + off, len);
	return 0;
}

static const struct format format = { .name = "test",
	.ending = ".test",
	.layout = layout,
	.metadata = metadata };

static struct view *open_view(uint32_t sector_size)
{
	char name[] = "sda", machine[] = "web";
	struct point_disk disk = {
		.name = name, .size = DISK, .sector_size = sector_size
	};
	struct point p = { .id.time = 1000, .machine = machine };
	const struct view_style style = { 0 };
	struct view *v;

	p.disks.v = &disk;
	p.disks.n = 1;
	assert_int_equal(view_open(NULL, &p, 0, &format, &style, &v), 0);
	return v;
}

static int set_up(void **state)
{
	struct run run;

	srandom(1);
	for (size_t i = 0; i < ALL; i++)
		file[i] = (uint8_t)(random() | 1);
	for (uint64_t off = 0; off < DISK; off += run.len) {
		run_at(off, DISK, &run);
		if (run.kind == BLK_ZERO)
			memset(file + PREFIX + off, 0, run.len);
	}
	*state = open_view(512);
	return 0;
}

static int tear_down(void **state)
{
	view_put(*state);
	return 0;
}

static void check_read(struct view *v, uint64_t off, size_t len)
{
	size_t want = off < ALL ? MIN_OF(len, (size_t)(ALL - off)) : 0;
	struct view_read r;
	size_t n = 0;

	assert_int_equal(view_read(v, off, len, &r), 0);
	for (size_t i = 0; i < r.n; i++) {
		assert_true(r.iov[i].iov_len > 0);
		assert_memory_equal(
			file + off + n, r.iov[i].iov_base, r.iov[i].iov_len);
		n += r.iov[i].iov_len;
	}
	assert_int_equal(n, want);
	view_read_fini(&r);
	assert_int_equal(n_pinned, 0);
}

static void reads(void **state)
{
	static const uint64_t edges[] = { 0, 1, PREFIX - 1, PREFIX, PREFIX + 1,
		PREFIX + DISK - 1, PREFIX + DISK, PREFIX + DISK + 1, ALL - 1,
		ALL, ALL + 1, ALL + 100000 };

	for (size_t i = 0; i < N_ELEMS(edges); i++) {
		for (size_t j = i + 1; j < N_ELEMS(edges); j++)
			check_read(*state, edges[i], edges[j] - edges[i]);
		check_read(*state, edges[i], 1);
	}
	for (unsigned i = 0; i < 20000; i++)
		check_read(*state, (uint64_t)random() % (ALL + 1000),
			(size_t)random() % (i % 2 ? 3000 : ALL) + 1);
}

static bool is_hole(uint64_t off)
{
	struct run run;

	if (off < PREFIX || off >= PREFIX + DISK)
		return false;
	run_at(off - PREFIX, DISK, &run);
	return run.kind == BLK_ZERO;
}

static void seeks(void **state)
{
	uint64_t data = UINT64_MAX, hole = ALL, found;

	/* from the end on, so that the next of each kind is known */
	for (uint64_t off = ALL; off-- > 0;) {
		if (is_hole(off))
			hole = off;
		else
			data = off;
		if (off % 7 && is_hole(off) == is_hole(off - 1))
			continue; /* the edges, and some between */
		assert_int_equal(view_seek(*state, off, SEEK_HOLE, &found), 0);
		assert_int_equal(found, hole);
		assert_int_equal(view_seek(*state, off, SEEK_DATA, &found), 0);
		assert_int_equal(found, data);
	}
	assert_int_equal(view_seek(*state, ALL, SEEK_DATA, &found), -ENXIO);
	assert_int_equal(view_seek(*state, ALL, SEEK_HOLE, &found), -ENXIO);
	assert_int_equal(view_seek(*state, 0, SEEK_END, &found), -EINVAL);
}

/* An error of the disk is an error of a read that touches it, and no other. */
static void errors(void **state)
{
	struct view *v = open_view(4096);
	struct view_read r;

	(void)state;
	check_read(v, 0, PREFIX);
	check_read(v, PREFIX + DISK, SUFFIX);
	assert_int_equal(view_read(v, 0, PREFIX + 1, &r), -EIO);
	assert_int_equal(view_read(v, PREFIX + DISK - 1, 100, &r), -EIO);
	assert_int_equal(n_pinned, 0);
	view_put(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads),
		cmocka_unit_test(seeks),
		cmocka_unit_test(errors),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every row of the table of formats: its layout for disks of 512 bytes to
 * 64 TiB, that any slice of its metadata is that part of the whole, that the
 * bytes are what they were when they were checked against other programs, that
 * identifiers are nobody else's, and which writes to them are let through.
 */
#define _GNU_SOURCE
#undef NDEBUG
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/format.h"
#include "src/bytes.h"
#include "src/crc32c.h"
#include "src/digest.h"

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)
#define STEP (1u << 20)

static const struct identity identity = {
	.id.b = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 },
	.time = 1795250565, /* 2026-11-21T08:42:45Z */
	.name = "disk0",
};

static const uint64_t sizes[] = { 512, MIB, 64 * MIB + 512, GIB + 1536,
	5 * GIB + 4608, TIB, 2040 * GIB, 2040 * GIB + 512, 3 * TIB, 8 * TIB,
	64 * TIB, 64 * TIB + 4096 };

/* Every second of its stretches of 5 MiB is zeroes. */
static int half(void *arg, uint64_t off, uint64_t len, struct blk_extent *ret)
{
	uint64_t n = off / (5 * MIB);
	unsigned *fails = arg;

	if (fails && (*fails)-- == 0)
		return -EIO;
	assert_true(len > 0);
	*ret = (struct blk_extent){ MIN_OF((n + 1) * 5 * MIB - off, len),
		n % 2 ? BLK_ZERO : BLK_DATA };
	return 0;
}

static const struct format_disk thin = { .extent = half };

static void make(const struct format *f, const struct layout *l,
	const struct format_disk *d, uint64_t off, size_t len, uint8_t *out)
{
	memset(out, 0xa5, len);
	assert_int_equal(f->metadata(l, &identity, d, off, len, out), 0);
}

/* The whole prefix, or pad and suffix; owned. */
static uint8_t *make_all(const struct format *f, const struct layout *l,
	const struct format_disk *d, uint64_t off, uint64_t end)
{
	uint8_t *all = malloc(end - off + 1);

	assert_non_null(all);
	if (end > off)
		make(f, l, d, off, end - off, all);
	return all;
}

static void rows_are_told_apart(void **state)
{
	const struct format *f, *g;

	(void)state;
	for (size_t i = 0; (f = format_at(i)); i++) {
		assert_true(f->ending[0] == '.' || f->ending[0] == '-');
		assert_true(f->same_as || format_find(f->name) == f);
		assert_true(f->same_as || format_find(f->ending + 1) == f);
		assert_true(!f->same_as || !format_find(f->name));
		assert_true(f->check_write == NULL || f->metadata != NULL);
		for (size_t j = 0; j < i; j++) {
			g = format_at(j);
			assert_string_not_equal(f->name, g->name);
			assert_string_not_equal(f->ending, g->ending);
			assert_true(f->same_as || g->same_as ||
				    f->number != g->number);
		}
	}
	assert_ptr_equal(format_find("img"), format_find("raw"));
	assert_null(format_find("flat.vmdk"));
	assert_null(format_find(""));
}

/* The numbers are in repositories: they are what they are. */
static void numbers_stay(void **state)
{
	static const char *const names[] = { "raw", "vmdk", "vhd", "vhdx",
		"vdi", "qcow2" };

	(void)state;
	for (size_t i = 0; i < N_ELEMS(names); i++)
		assert_int_equal(format_find(names[i])->number, i);
}

static bool holds(const char *name, uint64_t size, uint32_t sector_size)
{
	struct layout l;
	int r = format_find(name)->layout(size, sector_size, &l);

	assert_true(r == 0 || r == -EFBIG);
	return r == 0;
}

static void limits(void **state)
{
	(void)state;
	assert_true(holds("vhd", 2040 * GIB, 512));
	assert_false(holds("vhd", 2040 * GIB + 512, 512));
	assert_true(holds("vhdx", 64 * TIB, 512));
	assert_false(holds("vhdx", 64 * TIB + 512, 512));
	assert_true(holds("vhdx", 64 * TIB, 4096));
	assert_false(holds("vhdx", 64 * MIB + 512, 4096));
	assert_true(holds("vmdk", 8192 * TIB, 512));
	assert_true(holds("vdi", 512 * TIB - 128 * MIB, 512));
	assert_false(holds("vdi", 512 * TIB, 512));
	assert_true(holds("qcow2", UINT64_C(2) << 60, 512));
	assert_false(holds("qcow2", (UINT64_C(2) << 60) + 512, 512));
	assert_true(holds("raw", INT64_MAX / 512 * 512, 512));
	/* what has no word for a sector of 4096 bytes is not offered for it */
	assert_true(holds("raw", GIB, 4096) && holds("qcow2", GIB, 4096));
	assert_false(holds("vmdk", GIB, 4096));
	assert_false(holds("vhd", GIB, 4096) || holds("vdi", GIB, 4096));
	for (size_t i = 1; format_at(i); i++) {
		struct layout l;

		assert_int_equal(format_at(i)->layout(0, 512, &l), -EFBIG);
		assert_int_equal(
			format_at(i)->layout(MIB + 1, 512, &l), -EFBIG);
		assert_true(format_at(i)->max_size || format_at(i)->same_as ||
			    format_at(i)->layout(
				    UINT64_MAX / 512 * 512, 512, &l) == -EFBIG);
	}
}

static void layouts(void **state)
{
	const struct format *f;
	struct layout l;

	(void)state;
	for (size_t i = 0; (f = format_at(i)); i++)
		for (size_t j = 0; j < N_ELEMS(sizes); j++) {
			if (f->layout(sizes[j], 512, &l) < 0)
				continue;
			assert_int_equal(l.guest, sizes[j]);
			assert_int_equal(l.sector_size, 512);
			assert_true(l.disk == l.guest ||
				    (l.disk == 0 && f->max_size));
			/* or the reads of a guest would not be aligned */
			assert_int_equal(l.prefix % 4096, 0);
			assert_int_equal(layout_size(&l) % 512, 0);
			assert_true(f->metadata ||
				    l.prefix + l.pad + l.suffix == 0);
			assert_true(f->max_size == 0 ||
				    f->max_size >= layout_size(&l));
		}
	/* as the formats' documents count */
	assert_int_equal(format_find("vhdx")->layout(TIB, 512, &l), 0);
	assert_int_equal(l.prefix, 4 * MIB);
	assert_int_equal(format_find("vhdx")->layout(8 * TIB, 512, &l), 0);
	assert_int_equal(l.prefix, 6 * MIB);
	assert_int_equal(format_find("vhdx")->layout(64 * TIB, 512, &l), 0);
	assert_int_equal(l.prefix, 20 * MIB);
	assert_int_equal(format_find("vdi")->layout(TIB, 512, &l), 0);
	assert_int_equal(l.prefix, 5 * MIB);
	assert_int_equal(format_find("qcow2")->layout(TIB, 512, &l), 0);
	assert_int_equal(l.prefix, 12 * MIB);
	assert_int_equal(format_find("vdi")->layout(512, 512, &l), 0);
	assert_int_equal(layout_size(&l), 3 * MIB);
}

static void compare_slices(const struct format *f, const struct layout *l,
	const struct format_disk *d, uint64_t off, uint64_t end)
{
	uint8_t *all = make_all(f, l, d, off, end);
	uint8_t *some = malloc(STEP);

	assert_non_null(some);
	for (int i = 0; end > off && i < 300; i++) {
		uint64_t at = off + (uint64_t)random() % (end - off);
		uint64_t most = i % 3 ? 700 : STEP;
		size_t len = 1 + (uint64_t)random() % MIN_OF(end - at, most);

		if (i % 5 == 0) /* where most of what is not zero begins */
			at = MAX_OF(round_down(at, MIB), off);
		make(f, l, d, at, len, some);
		assert_memory_equal(some, all + (at - off), len);
	}
	free(some);
	free(all);
}

static void slices(void **state)
{
	const struct format *f;
	struct layout l;

	(void)state;
	srandom(6);
	for (size_t i = 0; (f = format_at(i)); i++)
		for (size_t j = 0; f->metadata && sizes[j] <= TIB; j++) {
			if (f->layout(sizes[j], 512, &l) < 0)
				continue;
			compare_slices(f, &l, NULL, 0, l.prefix);
			compare_slices(f, &l, &thin, 0, l.prefix);
			compare_slices(f, &l, NULL, l.prefix + l.disk,
				layout_size(&l));
		}
}

/* The last entries of tables that are never there as a whole. */
static void ends_of_tables(void **state)
{
	uint64_t n = 64 * TIB / MIB;
	uint8_t b[8 * 4];
	struct layout l;

	(void)state;
	assert_int_equal(format_find("vdi")->layout(64 * TIB, 512, &l), 0);
	make(format_find("vdi"), &l, NULL, MIB + 4 * (n - 2), 16, b);
	assert_int_equal(get_le32(b), n - 2);
	assert_int_equal(get_le32(b + 4), n - 1);
	assert_int_equal(get_le64(b + 8), 0);
	n = 64 * TIB / (32 * MIB);
	assert_int_equal(format_find("vhdx")->layout(64 * TIB, 512, &l), 0);
	make(format_find("vhdx"), &l, NULL, 3 * MIB + 8 * (n - 1 + n / 128 - 1),
		16, b);
	assert_int_equal(get_le64(b), l.prefix + (n - 1) * 32 * MIB + 6);
	assert_int_equal(get_le64(b + 8), 0);
	/* behind the 128th block there is the entry of a bitmap */
	make(format_find("vhdx"), &l, NULL, 3 * MIB + 8 * UINT64_C(127), 24, b);
	assert_int_equal(get_le64(b), l.prefix + 127 * 32 * MIB + 6);
	assert_int_equal(get_le64(b + 8), 0);
	assert_int_equal(get_le64(b + 16), l.prefix + 128 * 32 * MIB + 6);
}

/* Of what is not the disk: a digest of the digests of its parts. */
static void digest_metadata(const struct format *f, const struct layout *l,
	const struct format_disk *d, char hex[DIGEST_HEX])
{
	static uint8_t part[STEP];
	uint64_t ends[2][2] = { { 0, l->prefix },
		{ l->prefix + l->disk, layout_size(l) } };
	struct digest sums[2] = { 0 };

	for (size_t i = 0; i < 2; i++)
		for (uint64_t at = ends[i][0]; at < ends[i][1]; at += STEP) {
			size_t len = MIN_OF(ends[i][1] - at, (uint64_t)STEP);

			make(f, l, d, at, len, part);
			sums[1] = digest_of(part, len);
			sums[0] = digest_of(sums, sizeof(sums));
		}
	digest_hex(&sums[0], hex);
}

struct golden {
	const char *format;
	uint64_t size;
	bool thin;
	const char *digest; /* the first 16 digits */
};

static const struct golden golden[] = {
	{ "vmdk", 512, false, "c9120724e72df6b6" },
	{ "vmdk", MIB, false, "16d21b4c64312366" },
	{ "vmdk", 64 * MIB + 512, false, "d26143331ae12c67" },
	{ "vmdk", GIB + 1536, false, "ffca57a8e29b3294" },
	{ "vmdk", 5 * GIB + 4608, false, "72c9fc1a38dd0908" },
	{ "vmdk", TIB, false, "78b3968c32e858ec" },
	{ "vmdk", 2040 * GIB, false, "abbcbef2a3f189e4" },
	{ "vmdk", 3 * TIB, false, "b8612590c7a59310" },
	{ "vmdk", 8 * TIB, false, "c1063141f0bc6817" },
	{ "vhd", 512, false, "b100064e0a74efd0" },
	{ "vhd", MIB, false, "fe6dcc762f2392d8" },
	{ "vhd", 64 * MIB + 512, false, "02ee15b8c2407122" },
	{ "vhd", GIB + 1536, false, "47408d20b36c38fe" },
	{ "vhd", 5 * GIB + 4608, false, "fd7ca44fab896f55" },
	{ "vhd", TIB, false, "f41b50a9611cff78" },
	{ "vhd", 2040 * GIB, false, "a93b211b697ea076" },
	{ "vhdx", 512, false, "575c3622801320c6" },
	{ "vhdx", MIB, false, "242b4ba67df87aeb" },
	{ "vhdx", 64 * MIB + 512, false, "65566bf09539dc8f" },
	{ "vhdx", GIB + 1536, false, "9f76b61345fc0b2a" },
	{ "vhdx", 5 * GIB + 4608, false, "9d16349dc0f62893" },
	{ "vhdx", TIB, false, "e9070af8edcd3e7d" },
	{ "vhdx", 2040 * GIB, false, "b2c0f81b15235d52" },
	{ "vhdx", 3 * TIB, false, "e16269a37da67582" },
	{ "vhdx", 8 * TIB, false, "dd6e648cb862919c" },
	{ "vdi", 512, false, "f766d24bea5e3f76" },
	{ "vdi", MIB, false, "ff470933eb015b55" },
	{ "vdi", 64 * MIB + 512, false, "794f4183ceeab508" },
	{ "vdi", GIB + 1536, false, "9844d1a1291cedb4" },
	{ "vdi", 5 * GIB + 4608, false, "6959f7d8836de364" },
	{ "vdi", TIB, false, "be763fe49bebce58" },
	{ "vdi", 2040 * GIB, false, "3c70a1d16ac84a05" },
	{ "vdi", 3 * TIB, false, "787a78ce1c31ee9d" },
	{ "vdi", 8 * TIB, false, "b4036a37cfd87cd2" },
	{ "qcow2", 512, false, "7e63478d3c250f5d" },
	{ "qcow2", MIB, false, "119140de3e39d7ad" },
	{ "qcow2", 64 * MIB + 512, false, "f202d5f742b1c227" },
	{ "qcow2", GIB + 1536, false, "47240d410a80990b" },
	{ "qcow2", GIB + 1536, true, "07078c68e8b10320" },
	{ "qcow2", 5 * GIB + 4608, false, "67cad4e6b811b1d8" },
	{ "qcow2", TIB, false, "8306e25c8f687e52" },
	{ "qcow2", TIB, true, "3c0c5d2f38b1eae0" },
	{ "qcow2", 2040 * GIB, false, "6dd70cd9912a2dfe" },
	{ "qcow2", 3 * TIB, false, "ea1aaba626407388" },
	{ "qcow2", 8 * TIB, false, "8136013de315e9da" },
};

static void bytes_stay(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_ELEMS(golden); i++) {
		const struct golden *g = &golden[i];
		const struct format *f = format_find(g->format);
		char hex[DIGEST_HEX];
		struct layout l;

		assert_int_equal(f->layout(g->size, 512, &l), 0);
		digest_metadata(f, &l, g->thin ? &thin : NULL, hex);
		hex[16] = 0;
		if (strcmp(hex, g->digest) != 0)
			print_error("%s of %llu bytes: \"%s\"\n", g->format,
				(unsigned long long)g->size, hex);
		assert_string_equal(hex, g->digest);
	}
}

static void vmfs_descriptor(void **state)
{
	struct identity id = identity;
	const struct format *f = format_find("vmdk");
	char text[12288 + 1] = "";
	struct layout l;

	(void)state;
	id.vmfs = true;
	assert_int_equal(f->layout(MIB, 512, &l), 0);
	assert_int_equal(f->metadata(&l, &id, NULL, 0, sizeof(text) - 1,
				 (uint8_t *)text),
		0);
	assert_non_null(strstr(text, "createType=\"vmfs\"\n"));
	assert_non_null(strstr(text, "\nRW 2048 VMFS \"disk0-flat.vmdk\"\n"));
	id.vmfs = false;
	assert_int_equal(f->metadata(&l, &id, NULL, 0, sizeof(text) - 1,
				 (uint8_t *)text),
		0);
	assert_non_null(strstr(text, "createType=\"monolithicFlat\"\n"));
	assert_non_null(strstr(text, "\nRW 2048 FLAT \"disk0-flat.vmdk\" 0\n"));
}

/* Where each format has its identifier, and for how long. */
static const struct {
	const char *format;
	uint64_t off;
	size_t len;
} ids[] = {
	{ "vmdk", 0, 12288 },
	{ "vhd", MIB + 68, 16 },
	{ "vhdx", 2 * MIB + 64 * KIB + 32, 16 },
	{ "vhdx", 64 * KIB + 16, 32 },
	{ "vdi", 0x188, 16 },
	{ "vdi", 0x198, 16 },
};

static void identifiers(void **state)
{
	uint8_t one[N_ELEMS(ids)][12288], other[12288];

	(void)state;
	for (size_t i = 0; i < N_ELEMS(ids); i++) {
		const struct format *f = format_find(ids[i].format);
		struct identity id = identity;
		struct layout l;

		assert_int_equal(f->layout(MIB, 512, &l), 0);
		make(f, &l, NULL, ids[i].off, ids[i].len, one[i]);
		make(f, &l, NULL, ids[i].off, ids[i].len, other);
		assert_memory_equal(one[i], other, ids[i].len);
		id.id.b[15] ^= 1;
		assert_int_equal(f->metadata(&l, &id, NULL, ids[i].off,
					 ids[i].len, other),
			0);
		assert_memory_not_equal(one[i], other, ids[i].len);
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(one[i], one[j], 16);
	}
}

static uint64_t be64_at(const struct format *f, const struct layout *l,
	uint64_t off, const struct format_disk *d)
{
	uint8_t b[8];

	make(f, l, d, off, sizeof(b), b);
	return get_be64(b);
}

/* An entry for every cluster that is not zeroes, and a count for each. */
static void qcow2_is_thin(void **state)
{
	const struct format *f = format_find("qcow2");
	uint64_t cluster = 2 * MIB, l2, refs, n;
	struct layout l;

	(void)state;
	assert_int_equal(f->layout(GIB + 1536, 512, &l), 0);
	refs = be64_at(f, &l, be64_at(f, &l, 48, &thin), &thin);
	l2 = be64_at(f, &l, be64_at(f, &l, 40, &thin), &thin) & ~(1ull << 63);
	n = (l.guest + cluster - 1) / cluster;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t entry = be64_at(f, &l, l2 + 8 * i, &thin), off = 0;
		uint64_t end = MIN_OF((i + 1) * cluster, l.guest);
		struct blk_extent e = { 0, BLK_ZERO };
		uint8_t count[2];

		for (off = i * cluster; off < end && e.kind == BLK_ZERO;
			off += e.len)
			half(NULL, off, end - off, &e);
		make(f, &l, &thin, refs + 2 * (l.prefix / cluster + i), 2,
			count);
		assert_int_equal(
			entry, e.kind == BLK_ZERO
				       ? 0
				       : (l.prefix + i * cluster) | 1ull << 63);
		assert_int_equal(get_be16(count), e.kind != BLK_ZERO);
		assert_int_equal(be64_at(f, &l, l2 + 8 * i, NULL),
			(l.prefix + i * cluster) | 1ull << 63);
	}
	assert_int_equal(be64_at(f, &l, l2 + 8 * n, &thin), 0);
}

static void failures_are_told(void **state)
{
	const struct format *f = format_find("qcow2");
	unsigned fails = 3;
	struct format_disk d = { .extent = half, .arg = &fails };
	uint8_t *b = malloc(STEP);
	struct layout l;
	uint64_t l2;

	(void)state;
	assert_non_null(b);
	assert_int_equal(f->layout(GIB, 512, &l), 0);
	l2 = be64_at(f, &l, be64_at(f, &l, 40, NULL), NULL) & ~(1ull << 63);
	assert_int_equal(f->metadata(&l, &identity, &d, l2, 4096, b), -EIO);
	fails = 0;
	assert_int_equal(f->metadata(&l, &identity, &d, 0, 4096, b), 0);
	free(b);
}

struct change {
	const char *format;
	uint64_t off;
	uint8_t flip;
	int want;
};

/* Of a disk of 5 GiB: 160 blocks of VHDX, 5120 of VDI. */
static const struct change changes[] = {
	{ "vhdx", 3, 1, -EIO },                    /* the signature */
	{ "vhdx", 9, 1, 0 },                       /* the creator */
	{ "vhdx", 64 * KIB, 1, -EIO },             /* a header's signature */
	{ "vhdx", 128 * KIB + 68, 1, -EIO },       /* the log's length */
	{ "vhdx", 128 * KIB + 74, 1, -EIO },       /* and place */
	{ "vhdx", 64 * KIB + 8, 3, 0 },            /* a header's number */
	{ "vhdx", 64 * KIB + 48, 0xff, 0 },        /* its log */
	{ "vhdx", MIB + 5, 1, 0 },                 /* the log */
	{ "vhdx", 2 * MIB + 64 * KIB + 33, 1, 0 }, /* the disk's name */
	{ "vhdx", 192 * KIB + 32, 1, -EIO },       /* a region moves */
	{ "vhdx", 256 * KIB + 4, 1, -EIO },
	{ "vhdx", 2 * MIB + 64 * KIB, 1, -EIO },      /* size of a block */
	{ "vhdx", 2 * MIB + 64 * KIB + 17, 1, -EIO }, /* and of the disk */
	{ "vhdx", 3 * MIB, 1, -EIO },                 /* a block's state */
	{ "vhdx", 3 * MIB + 4, 1, -EIO },             /* and offset */
	{ "vhdx", 3 * MIB + 8 * 128, 1, -EIO },       /* a bitmap */
	{ "vhdx", 3 * MIB + 8 * 161 - 1, 1, -EIO },   /* the last block's */
	{ "vhdx", 3 * MIB + 8 * 161, 1, 0 },          /* behind them */
	{ "vdi", 0x54, 'x', 0 },                      /* comment */
	{ "vdi", 0x198, 0xff, 0 },                    /* modification */
	{ "vdi", 0x4c, 3, -EIO },                     /* another type */
	{ "vdi", 0x15a, 1, -EIO },                    /* the disk moves */
	{ "vdi", 0x172, 1, -EIO },                    /* another size */
	{ "vdi", MIB, 1, -EIO },                      /* block 0 */
	{ "vdi", MIB + 4 * 5120 - 1, 1, -EIO },       /* the last */
	{ "vdi", MIB + 4 * 5120, 1, 0 },              /* behind it */
};

static void writes_to_metadata(void **state)
{
	static uint8_t around[8192];
	struct layout text;

	(void)state;
	assert_int_equal(format_find("vmdk")->layout(5 * GIB, 512, &text), 0);
	for (size_t i = 0; i < N_ELEMS(changes); i++) {
		const struct change *c = &changes[i];
		const struct format *f = format_find(c->format);
		uint64_t at = round_down(c->off, 4096);
		struct layout l;
		uint8_t byte;

		assert_int_equal(f->layout(5 * GIB, 512, &l), 0);
		make(f, &l, NULL, c->off, 1, &byte);
		/* what is there already may always be written */
		assert_int_equal(f->check_write(&l, c->off, 1, &byte), 0);
		byte ^= c->flip;
		assert_int_equal(f->check_write(&l, c->off, 1, &byte), c->want);
		make(f, &l, NULL, at, sizeof(around), around);
		assert_int_equal(
			f->check_write(&l, at, sizeof(around), around), 0);
		around[c->off - at] ^= c->flip;
		assert_int_equal(f->check_write(&l, at, sizeof(around), around),
			c->want);
	}
	assert_int_equal(format_find("vmdk")->check_write(
				 &text, 0, 4, (const uint8_t *)"# Di"),
		0);
	assert_int_equal(format_find("vmdk")->check_write(
				 &text, 0, 4, (const uint8_t *)"KDMV"),
		-EIO);
	make(format_find("vmdk"), &text, NULL, 0, sizeof(around), around);
	assert_true(format_find("vmdk")->leads(around, sizeof(around)));
	assert_false(format_find("vmdk")->leads(around, 100));
	assert_false(format_find("vmdk")->leads(around, 0));
	around[0] = 'K';
	assert_false(format_find("vmdk")->leads(around, sizeof(around)));
	assert_null(format_find("vhd")->check_write);
}

static void checksum(void **state)
{
	static const uint8_t zeroes[32];

	(void)state;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
	assert_int_equal(crc32c(0, zeroes, 32), 0x8a9136aa); /* RFC 3720 */
	assert_int_equal(crc32c_zeroes(0, 32), 0x8a9136aa);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_told_apart),
		cmocka_unit_test(numbers_stay),
		cmocka_unit_test(limits),
		cmocka_unit_test(layouts),
		cmocka_unit_test(slices),
		cmocka_unit_test(ends_of_tables),
		cmocka_unit_test(bytes_stay),
		cmocka_unit_test(vmfs_descriptor),
		cmocka_unit_test(identifiers),
		cmocka_unit_test(qcow2_is_thin),
		cmocka_unit_test(failures_are_told),
		cmocka_unit_test(writes_to_metadata),
		cmocka_unit_test(checksum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

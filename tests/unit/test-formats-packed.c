/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every row of the table of packed formats: its tables, read as the format's
 * description says, lead to each block that is there, and to no other; any
 * slice of its metadata is that part of the whole; and the bytes are what they
 * were when they were checked against other programs.
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

#include "formats/packed.h"
#include "formats/vmdk_sparse.h"
#include "src/bytes.h"
#include "src/digest.h"

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
	5 * GIB + 4608, 300 * GIB };

/* A packed file of a disk of which one block in FEW is there. */
struct file {
	const struct packed_format *format;
	struct present *present;
	struct packed packed;
};

static int open_file(struct file *f, const struct packed_format *format,
	uint64_t guest, unsigned few)
{
	uint64_t n = (guest + format->block - 1) / format->block;

	*f = (struct file){ .format = format };
	srandom((unsigned)n);
	assert_int_equal(present_new(n, &f->present), 0);
	for (uint64_t i = 0; few && i < n; i++)
		if (i == n - 1 || (unsigned)random() % few == 0)
			present_set(f->present, i);
	present_count(f->present);
	return format->layout(guest, 512, f->present, &f->packed);
}

static void make(const struct file *f, uint64_t off, size_t len, uint8_t *out)
{
	memset(out, 0xa5, len);
	f->format->metadata(&f->packed, &identity, off, len, out);
}

static uint8_t *make_prefix(const struct file *f)
{
	uint8_t *b = malloc(f->packed.prefix);

	assert_non_null(b);
	make(f, 0, f->packed.prefix, b);
	return b;
}

static void counts(void **state)
{
	struct present *p;

	(void)state;
	assert_int_equal(present_new(200, &p), 0);
	present_set(p, 0);
	present_set(p, 63);
	present_set(p, 64);
	present_set(p, 199);
	present_count(p);
	assert_int_equal(p->n, 4);
	assert_int_equal(present_before(p, 0), 0);
	assert_int_equal(present_before(p, 1), 1);
	assert_int_equal(present_before(p, 63), 1);
	assert_int_equal(present_before(p, 64), 2);
	assert_int_equal(present_before(p, 65), 3);
	assert_int_equal(present_before(p, 199), 3);
	assert_int_equal(present_before(p, 200), 4);
	assert_true(present_has(p, 63) && !present_has(p, 62));
	present_free(p);
	assert_int_equal(present_new((uint64_t)PRESENT_MAX + 1, &p), -EFBIG);
}

/* Where the tables say that block I is; 0: nowhere. */
static uint64_t in_vmdk(const uint8_t *p, uint64_t i, uint64_t field)
{
	uint64_t directory = get_le64(p + field) * 512;
	uint64_t table =
		get_le32(p + directory + 4 * (i / 512)) * UINT64_C(512);

	return get_le32(p + table + 4 * (i % 512)) * UINT64_C(512);
}

static uint64_t in_vhd(const uint8_t *p, uint64_t i)
{
	uint32_t entry = get_be32(p + get_be64(p + 512 + 16) + 4 * i);

	return entry == UINT32_MAX ? 0 : entry * UINT64_C(512) + 512;
}

static uint64_t in_vhdx(const uint8_t *p, uint64_t i)
{
	uint64_t block = get_le32(p + 2 * MIB + 65536);
	uint64_t chunk = (UINT64_C(1) << 23) * 512 / block;
	uint64_t entry = get_le64(p + 3 * MIB + 8 * (i + i / chunk));

	if ((entry & 7) == 2) {
		assert_int_equal(entry, 2);
		return 0;
	}
	assert_int_equal(entry & 0xfffff, 6);
	return entry & ~UINT64_C(0xfffff);
}

static uint64_t in_vdi(const uint8_t *p, uint64_t i)
{
	uint32_t entry = get_le32(p + get_le32(p + 0x154) + 4 * i);

	return entry == UINT32_MAX
		       ? 0
		       : get_le32(p + 0x158) + entry * UINT64_C(1048576);
}

static uint64_t in_qcow2(const uint8_t *p, uint64_t i)
{
	uint64_t l1 = get_be64(p + 40), table, entry;

	table = get_be64(p + l1 + 8 * (i / 8192));
	if (table == 0)
		return 0;
	assert_true(table >> 63);
	entry = get_be64(p + (table & ~(UINT64_C(1) << 63)) + 8 * (i % 8192));
	assert_true(entry == 0 || entry >> 63);
	return entry & ~(UINT64_C(1) << 63);
}

static uint64_t find(const struct file *f, const uint8_t *p, uint64_t i)
{
	const char *name = f->format->format->name;
	uint64_t ret;

	if (strcmp(name, "vhd") == 0)
		return in_vhd(p, i);
	if (strcmp(name, "vhdx") == 0)
		return in_vhdx(p, i);
	if (strcmp(name, "vdi") == 0)
		return in_vdi(p, i);
	if (strcmp(name, "qcow2") == 0)
		return in_qcow2(p, i);
	assert_string_equal(name, "vmdk");
	ret = in_vmdk(p, i, 56);
	assert_int_equal(in_vmdk(p, i, 48), ret); /* and its copy */
	return ret;
}

static void check_tables(struct file *f)
{
	uint8_t *p = make_prefix(f);
	uint64_t next = f->packed.prefix + f->packed.lead;

	for (uint64_t i = 0; i < f->present->n_blocks; i++) {
		if (!present_has(f->present, i)) {
			assert_int_equal(find(f, p, i), 0);
			continue;
		}
		assert_int_equal(find(f, p, i), next);
		assert_int_equal(packed_place(&f->packed, i), next);
		next += f->packed.block + f->packed.lead;
	}
	assert_int_equal(packed_blocks_end(&f->packed), next - f->packed.lead);
	free(p);
}

static void tables(void **state)
{
	static const unsigned few[] = { 0, 1, 7, 20000 };
	const struct packed_format *format;
	struct file f;

	(void)state;
	for (size_t i = 0; (format = packed_at(i)); i++)
		for (size_t j = 0; j < N_ELEMS(sizes); j++)
			for (size_t k = 0; k < N_ELEMS(few); k++) {
				assert_int_equal(
					open_file(&f, format, sizes[j], few[k]),
					0);
				check_tables(&f);
				present_free(f.present);
			}
}

static void check_slices(struct file *f)
{
	uint8_t *all = make_prefix(f), *some = malloc(STEP);
	uint64_t suffix = f->packed.suffix;

	assert_non_null(some);
	for (int i = 0; i < 200; i++) {
		uint64_t at = (uint64_t)random() % f->packed.prefix;
		uint64_t most = i % 3 ? 700 : STEP;
		size_t len = 1 + (uint64_t)random() %
					 MIN_OF(f->packed.prefix - at, most);

		if (i % 5 == 0)
			at = round_down(at, 65536);
		make(f, at, len, some);
		assert_memory_equal(some, all + at, len);
	}
	if (suffix) { /* of VHD: the footer, of which the copy is first */
		make(f, packed_blocks_end(&f->packed), suffix, some);
		assert_memory_equal(some, all, suffix);
	}
	free(some);
	free(all);
}

static void slices(void **state)
{
	const struct packed_format *format;
	struct file f;

	(void)state;
	for (size_t i = 0; (format = packed_at(i)); i++)
		for (size_t j = 0; j < N_ELEMS(sizes); j++) {
			assert_int_equal(open_file(&f, format, sizes[j], 5), 0);
			check_slices(&f);
			present_free(f.present);
		}
}

/* What no table can say is refused, not cut off. */
static void limits(void **state)
{
	static const struct {
		const char *format;
		uint64_t most;
		unsigned few;
	} rows[] = {
		{ "vhd", 2040 * GIB, 1 },
		{ "vmdk", 2 * TIB, 3 },
		{ "vhdx", 64 * TIB, 1 },
	};

	(void)state;
	for (size_t i = 0; i < N_ELEMS(rows); i++) {
		const struct packed_format *format = packed_at(0);
		struct file f;

		for (size_t j = 0;
			format->format != format_find(rows[i].format); j++)
			format = packed_at(j);
		assert_int_equal(
			open_file(&f, format, rows[i].most, rows[i].few), 0);
		present_free(f.present);
		assert_int_equal(
			open_file(&f, format, rows[i].most + 4096, 0), -EFBIG);
		present_free(f.present);
	}
	/* 2 TiB of grains and what is before them: too far for 32 bits */
	{
		struct file f;

		assert_int_equal(
			open_file(&f, &packed_vmdk, 2 * TIB, 1), -EFBIG);
		present_free(f.present);
	}
}

struct golden {
	const char *format;
	uint64_t size;
	const char *digest; /* the first 16 digits */
};

/* One block in three. */
static const struct golden golden[] = {
	{ "vmdk", 512, "3462781632d8966d" },
	{ "vmdk", 64 * MIB + 512, "c7c48c8e6ffc676e" },
	{ "vmdk", 5 * GIB + 4608, "7d9cee1810e596c5" },
	{ "vmdk", TIB, "1d29483eb176a2c3" },
	{ "vhd", 512, "1951435f3fa7d04f" },
	{ "vhd", 64 * MIB + 512, "ecdd6d8c0ea3200d" },
	{ "vhd", 5 * GIB + 4608, "bfde59393c14c215" },
	{ "vhd", TIB, "afda3c47657b6336" },
	{ "vhdx", 512, "64fd6e33d3e0da62" },
	{ "vhdx", 64 * MIB + 512, "4bc07983cccbe9bb" },
	{ "vhdx", 5 * GIB + 4608, "2a291febef3e52eb" },
	{ "vhdx", TIB, "2aaab09ff4d02a72" },
	{ "vdi", 512, "a3f10e2052071299" },
	{ "vdi", 64 * MIB + 512, "3db962ad49553984" },
	{ "vdi", 5 * GIB + 4608, "6e1f6d0ebc299d50" },
	{ "vdi", TIB, "fb9e0a9b1b12020a" },
	{ "qcow2", 512, "c4d0888c76a5b23d" },
	{ "qcow2", 64 * MIB + 512, "f6e58e54212885de" },
	{ "qcow2", 5 * GIB + 4608, "28bd3fc1bb4bec19" },
	{ "qcow2", TIB, "35063c6017cb056e" },
};

static void bytes_stay(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_ELEMS(golden); i++) {
		const struct packed_format *format = packed_at(0);
		char hex[DIGEST_HEX];
		struct digest d;
		struct file f;
		uint8_t *p;

		for (size_t j = 0;
			format->format != format_find(golden[i].format); j++)
			format = packed_at(j);
		assert_int_equal(open_file(&f, format, golden[i].size, 3), 0);
		p = make_prefix(&f);
		d = digest_of(p, f.packed.prefix);
		digest_hex(&d, hex);
		hex[16] = 0;
		if (strcmp(hex, golden[i].digest) != 0)
			print_error("%s of %llu bytes: \"%s\"\n",
				golden[i].format,
				(unsigned long long)golden[i].size, hex);
		assert_string_equal(hex, golden[i].digest);
		free(p);
		present_free(f.present);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts),
		cmocka_unit_test(tables),
		cmocka_unit_test(slices),
		cmocka_unit_test(limits),
		cmocka_unit_test(bytes_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

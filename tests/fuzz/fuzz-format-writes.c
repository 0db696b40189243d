/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever is written to a view's metadata: where it is let through, whoever
 * parses the file afterwards still finds every byte of the disk where the
 * layout has it; and what is refused did change something.
 *
 * As a test it makes its inputs from seeds; arguments are files to replay.
 * With libFuzzer: clang -fsanitize=fuzzer -DWITH_LIBFUZZER and the libraries.
 */
#define _GNU_SOURCE
#undef NDEBUG
#include <assert.h>
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/format.h"
#include "src/bytes.h"

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1) << 20)
#define GUEST (9 * UINT64_C(1024) * MIB + 1536) /* 289 blocks of VHDX */
#define WRITE_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* An open file: all that is before the disk. */
struct file {
	const struct format *format;
	struct layout layout;
	uint8_t *made, *now;
};

static uint64_t vhdx_region(const uint8_t *p, uint64_t table, uint8_t first)
{
	for (uint32_t i = 0; i < get_le32(p + table + 8) && i < 4; i++) {
		const uint8_t *e = p + table + 16 + UINT64_C(32) * i;

		if (e[0] == first)
			return get_le64(e + 16);
	}
	return 0;
}

/* As MS-VHDX has it, of either region table. */
static bool vhdx_is_linear(const struct file *f, uint64_t table)
{
	const uint8_t *p = f->now;
	uint64_t bat = vhdx_region(p, table, 0x66);
	uint64_t meta = vhdx_region(p, table, 0x06);
	uint64_t block = 0, size = 0, sector = 0, chunk;

	if (bat != 3 * MIB || meta != 2 * MIB)
		return false;
	for (unsigned i = 0; i < 5; i++) {
		const uint8_t *e = p + meta + 32 + UINT64_C(32) * i;
		uint64_t at = meta + get_le32(e + 16);

		if (at + 8 > bat)
			continue; /* an item that is none of these three */
		if (get_le32(e) == 0xcaa16737)
			block = get_le32(p + at);
		else if (get_le32(e) == 0x2fa54224)
			size = get_le64(p + at);
		else if (get_le32(e) == 0x8141bf1d)
			sector = get_le32(p + at);
	}
	if (block != 32 * MIB || size != GUEST || sector != 512)
		return false;
	chunk = (UINT64_C(1) << 23) * sector / block;
	for (uint64_t k = 0; k * block < size; k++) {
		uint64_t e = get_le64(p + bat + 8 * (k + k / chunk));

		if ((e & 7) != 6 ||
			e >> 20 != (f->layout.prefix + k * block) >> 20)
			return false;
	}
	return true;
}

static bool vdi_is_linear(const struct file *f)
{
	const uint8_t *p = f->now;

	if (get_le32(p + 0x4c) != 2 || get_le32(p + 0x154) != MIB ||
		get_le32(p + 0x158) != f->layout.prefix ||
		get_le64(p + 0x170) != GUEST || get_le32(p + 0x178) != MIB)
		return false;
	for (uint64_t k = 0; k * MIB < GUEST; k++)
		if (get_le32(p + MIB + 4 * k) != k)
			return false;
	return true;
}

static bool is_linear(const struct file *f)
{
	if (strcmp(f->format->name, "vdi") == 0)
		return vdi_is_linear(f);
	return vhdx_is_linear(f, 192 * KIB) && vhdx_is_linear(f, 256 * KIB);
}

/* Where most of what matters is. */
static const uint64_t near[] = { 0, 0x40, 0x150, 64 * KIB, 128 * KIB, 192 * KIB,
	256 * KIB, MIB, MIB + 4 * (GUEST / MIB), 2 * MIB, 2 * MIB + 64 * KIB,
	3 * MIB, 3 * MIB + UINT64_C(8) * 128, 3 * MIB + UINT64_C(8) * 290 };

static void write_one(
	struct file *f, uint64_t off, size_t len, const uint8_t *bytes)
{
	int r = f->format->check_write(&f->layout, off, len, bytes);

	assert(r == 0 || r == -EIO);
	if (r < 0) {
		assert(memcmp(f->now + off, bytes, len) != 0);
		return;
	}
	memcpy(f->now + off, bytes, len);
	assert(is_linear(f));
}

/* Writes of: where (2), how far from there (2), how (1), how long (1). */
static void run(struct file *f, const uint8_t *data, size_t len)
{
	while (len >= 6) {
		uint8_t bytes[WRITE_MAX];
		uint64_t off = near[get_le16(data) % N_ELEMS(near)];
		uint8_t how = data[4];
		size_t n = 1 + data[5] % (how & 0x80 ? 256u : 16u);

		off += get_le16(data + 2) % (how & 1             ? 40
						    : how & 0x40 ? 65536
								 : 300);
		if (how & 2)
			n = 512u * (1 + n % 8);
		data += 6;
		len -= 6;
		off = MIN_OF(off, f->layout.prefix - n);
		/* over what is there, or over what was there first */
		memcpy(bytes, (how & 4 ? f->made : f->now) + off, n);
		for (size_t i = 0; i < (how >> 3) % 4u && len > 0; i++) {
			bytes[data[0] % n] ^= (uint8_t)(1u << i | data[0]);
			data++;
			len--;
		}
		write_one(f, off, n, bytes);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct identity identity = { .name = "disk0" };
	static struct file files[2] = { { .made = NULL } };
	struct file *f;

	if (len == 0)
		return 0;
	f = &files[data[0] & 1];
	if (!f->made) {
		f->format = format_find(data[0] & 1 ? "vdi" : "vhdx");
		assert(f->format->layout(GUEST, 512, &f->layout) == 0);
		f->made = malloc(f->layout.prefix);
		f->now = malloc(f->layout.prefix);
		assert(f->made && f->now);
		assert(f->format->metadata(&f->layout, &identity, NULL, 0,
			       f->layout.prefix, f->made) == 0);
	}
	memcpy(f->now, f->made, f->layout.prefix);
	assert(is_linear(f));
	run(f, data + 1, len - 1);
	return 0;
}

#ifndef WITH_LIBFUZZER
static void replay(const char *path)
{
	static uint8_t data[1 << 16];
	FILE *in = fopen(path, "re");
	size_t len;

	if (!in)
		err(1, "%s", path);
	len = fread(data, 1, sizeof(data), in);
	fclose(in);
	LLVMFuzzerTestOneInput(data, len);
}

int main(int argc, char **argv)
{
	uint8_t data[4000];

	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	for (unsigned seed = 1; argc == 1 && seed <= 200; seed++) {
		srandom(seed);
		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = (uint8_t)random();
		LLVMFuzzerTestOneInput(data, sizeof(data));
	}
	return 0;
}
#endif

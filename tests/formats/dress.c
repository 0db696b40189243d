/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dresses a raw file as another format, outside a mount: what a view of it
 * would show, in a sparse file.
 *
 *   dress FORMAT RAW FILE [SECTOR-SIZE [thick|vmfs]]
 *
 * Of the VMware pair the flat file is a link to RAW beside FILE. Exits with 3
 * if the format cannot hold the disk.
 */
#define _GNU_SOURCE
#undef NDEBUG
#include <assert.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/format.h"
#include "src/bytes.h"

#define STEP (UINT64_C(1) << 20)

static int extent(void *arg, uint64_t off, uint64_t len, struct blk_extent *ret)
{
	int fd = *(const int *)arg;
	off_t data = lseek(fd, (off_t)off, SEEK_DATA);
	off_t hole;

	if (data < 0 && errno != ENXIO)
		return -errno;
	if (data < 0 || (uint64_t)data >= off + len) {
		*ret = (struct blk_extent){ len, BLK_ZERO };
		return 0;
	}
	if ((uint64_t)data > off) {
		*ret = (struct blk_extent){ (uint64_t)data - off, BLK_ZERO };
		return 0;
	}
	hole = lseek(fd, (off_t)off, SEEK_HOLE);
	assert(hole > data);
	*ret = (struct blk_extent){ MIN_OF((uint64_t)hole - off, len),
		BLK_DATA };
	return 0;
}

static void put(int fd, const uint8_t *buf, size_t len, uint64_t off)
{
	for (size_t at = 0; at < len; at += 4096) {
		size_t n = MIN_OF(len - at, (size_t)4096);

		if (!is_zero(buf + at, n) &&
			pwrite(fd, buf + at, n, (off_t)(off + at)) !=
				(ssize_t)n)
			err(1, "write");
	}
}

static void copy_disk(int from, int to, const struct layout *l)
{
	struct format_disk d = { extent, &from };
	uint8_t *buf = malloc(STEP);
	struct blk_extent e;

	assert(buf);
	for (uint64_t off = 0; off < l->disk; off += e.len) {
		assert(d.extent(d.arg, off, l->disk - off, &e) == 0);
		e.len = MIN_OF(e.len, e.kind == BLK_DATA ? STEP : e.len);
		if (e.kind != BLK_DATA)
			continue;
		if (pread(from, buf, e.len, (off_t)off) != (ssize_t)e.len)
			err(1, "read");
		put(to, buf, e.len, l->prefix + off);
	}
	free(buf);
}

static void make(const struct format *f, const struct layout *l,
	const struct identity *id, const struct format_disk *d, int fd,
	uint64_t off, uint64_t end)
{
	uint8_t *buf = malloc(STEP);

	assert(buf);
	for (; off < end; off += MIN_OF(STEP, end - off)) {
		size_t len = MIN_OF(STEP, end - off);

		if (f->metadata(l, id, d, off, len, buf) < 0)
			errx(1, "metadata");
		put(fd, buf, len, off);
	}
	free(buf);
}

/* FILE without its directory and ".vmdk" */
static char *base_name(const char *file)
{
	const char *slash = strrchr(file, '/');
	char *base = strdup(slash ? slash + 1 : file);

	assert(base);
	base[strcspn(base, ".")] = 0;
	return base;
}

static void link_flat(const char *raw, const char *file)
{
	char *flat;
	int len = (int)strlen(file) - (int)strlen(".vmdk");

	assert(asprintf(&flat, "%.*s-flat.vmdk", len, file) > 0);
	unlink(flat);
	if (link(raw, flat) < 0)
		err(1, "%s", flat);
	free(flat);
}

int main(int argc, char **argv)
{
	struct identity id = { .time = 1795250565 };
	const struct format *f = argc > 3 ? format_find(argv[1]) : NULL;
	const char *option = argc > 5 ? argv[5] : "";
	bool thick = strcmp(option, "thick") == 0;
	struct format_disk d = { .extent = extent };
	struct layout l;
	struct stat st;
	int raw, fd;

	if (!f)
		errx(2, "usage: dress FORMAT RAW FILE [SECTOR-SIZE [OPTION]]");
	for (size_t i = 0; i < sizeof(id.id.b); i++)
		id.id.b[i] = (uint8_t)(0xf0 + i);
	id.vmfs = strcmp(option, "vmfs") == 0;
	raw = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (raw < 0 || fstat(raw, &st) < 0)
		err(1, "%s", argv[2]);
	if (f->layout((uint64_t)st.st_size,
		    argc > 4 ? (uint32_t)atoi(argv[4]) : 512, &l) < 0)
		return 3;
	fd = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)layout_size(&l)) < 0)
		err(1, "%s", argv[3]);
	d.arg = &raw;
	id.name = base_name(argv[3]);
	copy_disk(raw, fd, &l);
	if (!l.disk)
		link_flat(argv[2], argv[3]);
	if (f->metadata) {
		make(f, &l, &id, thick ? NULL : &d, fd, 0, l.prefix);
		make(f, &l, &id, thick ? NULL : &d, fd, l.prefix + l.disk,
			layout_size(&l));
	}
	free((void *)(uintptr_t)id.name);
	if (close(fd) < 0)
		err(1, "%s", argv[3]);
	return 0;
}

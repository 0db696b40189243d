/* SPDX-License-Identifier: Apache-2.0 */
#include "src/image_refs.h"

#include <errno.h>
#include <string.h>

#include "src/bytes.h"
#include "src/image_vmdk.h"
#include "src/log.h"

static int damaged(const char *path, const char *what)
{
	return fail(EINVAL, "%s: damaged: %s", path, what);
}

static int read_all(
	int fd, const char *path, void *buf, size_t len, uint64_t off)
{
	size_t have;
	int r = image_read(fd, path, buf, len, off, &have);

	if (r < 0)
		return r;
	return have == len ? 0 : damaged(path, "its header is cut off");
}

static int set_name(char **to, const void *text, size_t len)
{
	free(*to);
	*to = strndup(text, len);
	return *to ? 0 : fail(ENOMEM, "image header: %m");
}

/* From BUF + AT on, up to the one of type 0 or END. */
static int qcow2_extensions(const char *path, const unsigned char *buf,
	size_t at, size_t end, struct image_refs *refs)
{
	while (at + 8 <= end) {
		uint32_t type = get_be32(buf + at);
		uint32_t len = get_be32(buf + at + 4);
		int r = 0;

		at += 8;
		if (type == 0)
			break;
		if (len > end - at)
			return damaged(path, "a header extension is too long");
		if (type == 0xe2792aca) /* backing file format */
			r = set_name(&refs->backing_driver, buf + at, len);
		else if (type == 0x44415441) /* external data file name */
			r = set_name(&refs->data_file, buf + at, len);
		if (r < 0)
			return r;
		at += round_up(len, 8);
	}
	return 0;
}

static int qcow2_refs(int fd, const char *path, struct image_refs *refs)
{
	unsigned char h[104] = { 0 };
	scoped(freep) unsigned char *cluster = NULL;
	uint32_t version, bits, header_len, name_len;
	uint64_t name_at, incompatible;
	size_t have;
	int r = read_all(fd, path, h, 72, 0);

	if (r < 0)
		return r;
	version = get_be32(h + 4);
	name_at = get_be64(h + 8);   /* backing_file_offset */
	name_len = get_be32(h + 16); /* backing_file_size */
	bits = get_be32(h + 20);     /* cluster_bits */
	if (version >= 3) {
		r = read_all(fd, path, h, sizeof(h), 0);
		if (r < 0)
			return r;
	}
	incompatible = version >= 3 ? get_be64(h + 72) : 0;
	header_len = version >= 3 ? get_be32(h + 100) : 72;
	if (version < 2 || version > 3 || bits < 9 || bits > 21)
		return damaged(path, "no qcow2 header of version 2 or 3");
	cluster = calloc(1, (size_t)1 << bits);
	if (!cluster)
		return fail(ENOMEM, "%s: %m", path);
	r = image_read(fd, path, cluster, (size_t)1 << bits, 0, &have);
	if (r < 0)
		return r;
	if (header_len < (version >= 3 ? 104 : 72) || header_len > have ||
		name_at > have ||
		(name_at && (name_len > 1023 || name_len > have - name_at)))
		return damaged(path, "its header points outside of itself");
	r = qcow2_extensions(path, cluster, header_len,
		name_at ? (size_t)name_at : have, refs);
	if (r == 0 && name_at && name_len)
		r = set_name(&refs->backing, cluster + name_at, name_len);
	if (r < 0)
		return r;
	/* only the incompatible bit makes the name count */
	if (!(incompatible & 4))
		free(take(refs->data_file));
	else if (!refs->data_file)
		return damaged(path, "its data file has no name");
	return 0;
}

/*
 * qemu takes a differencing VHD for one whose absent blocks are zeroes, and
 * says nothing: all that its parent holds would be lost.
 */
static int vhd_check(int fd, const char *path)
{
	unsigned char footer[512];
	off_t end = lseek(fd, 0, SEEK_END);
	int r = read_all(fd, path, footer, sizeof(footer), 0);

	if (r == 0 && memcmp(footer, "conectix", 8) != 0)
		r = read_all(fd, path, footer, sizeof(footer),
			(uint64_t)end - sizeof(footer));
	if (r < 0)
		return r;
	if (get_be32(footer + 60) == 4) /* disk type: differencing */
		return fail(EINVAL,
			"%s: a differencing VHD: merge it with its parent "
			"first",
			path);
	return 0;
}

/* Where the region table says the metadata are; 0: not there. */
static int vhdx_metadata(int fd, const char *path, uint64_t *ret)
{
	static const unsigned char metadata_guid[16] = { 0x06, 0xa2, 0x7c, 0x8b,
		0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f,
		0x88, 0x6e };
	scoped(freep) unsigned char *table = malloc(65536);
	uint32_t n;
	int r;

	if (!table)
		return fail(ENOMEM, "%s: %m", path);
	r = read_all(fd, path, table, 65536, 192 << 10);
	if (r < 0)
		return r;
	n = get_le32(table + 8); /* EntryCount */
	if (memcmp(table, "regi", 4) != 0 || n > 2047)
		return damaged(path, "no VHDX region table");
	for (const unsigned char *e = table + 16; n > 0; n--, e += 32) {
		*ret = get_le64(e + 16); /* FileOffset */
		if (memcmp(e, metadata_guid, 16) == 0 && *ret < 1ULL << 62)
			return 0;
	}
	return damaged(path, "no VHDX metadata");
}

/* 1 if the file parameters have HasParent */
static int vhdx_has_parent(int fd, const char *path, uint64_t metadata)
{
	static const unsigned char parameters_guid[16] = { 0x37, 0x67, 0xa1,
		0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa,
		0x44, 0xe7, 0x6b };
	scoped(freep) unsigned char *table = malloc(65536);
	unsigned char item[8];
	unsigned n;
	int r;

	if (!table)
		return fail(ENOMEM, "%s: %m", path);
	r = read_all(fd, path, table, 65536, metadata);
	if (r < 0)
		return r;
	n = get_le16(table + 10); /* EntryCount */
	if (memcmp(table, "metadata", 8) != 0 || n > 2047)
		return damaged(path, "no VHDX metadata table");
	for (const unsigned char *e = table + 32; n > 0; n--, e += 32) {
		if (memcmp(e, parameters_guid, 16) != 0)
			continue;
		r = read_all(fd, path, item, sizeof(item),
			metadata + get_le32(e + 16)); /* Offset */
		return r < 0 ? r : (get_le32(item + 4) & 2) != 0;
	}
	return damaged(path, "no VHDX file parameters");
}

static int vhdx_check(int fd, const char *path)
{
	static const unsigned char no_guid[16];
	unsigned char header[2][80];
	uint64_t metadata = 0;
	unsigned active = 0;
	int r;

	for (unsigned i = 0; i < 2; i++) {
		r = read_all(fd, path, header[i], sizeof(header[i]),
			(64ULL << 10) * (i + 1));
		if (r < 0)
			return r;
	}
	/* qemu checks their sums: this only chooses the newer one */
	if (memcmp(header[1], "head", 4) == 0 &&
		(memcmp(header[0], "head", 4) != 0 ||
			get_le64(header[1] + 8) > get_le64(header[0] + 8)))
		active = 1;
	if (memcmp(header[active] + 48, no_guid, 16) != 0) /* LogGuid */
		return fail(EINVAL,
			"%s: was not closed cleanly, its log is not replayed: "
			"attach and detach it once, or convert a copy",
			path);
	r = vhdx_metadata(fd, path, &metadata);
	if (r == 0)
		r = vhdx_has_parent(fd, path, metadata);
	if (r <= 0)
		return r;
	return fail(EINVAL,
		"%s: a differencing VHDX (a checkpoint): merge it with its "
		"parent first",
		path);
}

int image_refs_read(
	int fd, const char *path, enum image_format f, struct image_refs *ret)
{
	struct image_refs refs = { 0 };
	int r = 0;

	switch (f) {
	case IMAGE_QCOW2:
		r = qcow2_refs(fd, path, &refs);
		break;
	case IMAGE_VMDK:
		r = vmdk_refs(fd, path, &refs);
		break;
	case IMAGE_VHD:
		r = vhd_check(fd, path);
		break;
	case IMAGE_VHDX:
		r = vhdx_check(fd, path);
		break;
	case IMAGE_RAW:
	case IMAGE_VDI: /* qemu itself refuses one that has a parent */
		break;
	}
	if (r < 0) {
		image_refs_fini(&refs);
		return r;
	}
	*ret = refs;
	return 0;
}

void image_refs_fini(struct image_refs *refs)
{
	free(refs->backing);
	free(refs->backing_driver);
	free(refs->data_file);
	for (size_t i = 0; i < refs->extents.n; i++)
		free(refs->extents.v[i].name);
	vec_fini(&refs->extents);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "src/image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "src/bytes.h"
#include "src/log.h"

static const struct {
	const char *name;
	const char *driver;
} formats[] = {
	[IMAGE_RAW] = { "raw", "raw" },
	[IMAGE_QCOW2] = { "qcow2", "qcow2" },
	[IMAGE_VMDK] = { "vmdk", "vmdk" },
	[IMAGE_VHD] = { "vhd", "vpc" },
	[IMAGE_VHDX] = { "vhdx", "vhdx" },
	[IMAGE_VDI] = { "vdi", "vdi" },
};

int image_open(
	const char *path, int *ret_fd, bool *ret_is_device, uint64_t *ret_size)
{
	/* a pipe would be waited for without O_NONBLOCK */
	scoped(closep) int fd =
		open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	/* which is what open() says of a socket */
	if (fd < 0 && errno == ENXIO)
		return fail(EINVAL,
			"%s: neither a file nor a block device that is there",
			path);
	if (fd < 0)
		return fail(errno, "%s: %m", path);
	if (fstat(fd, &st) != 0)
		return fail(errno, "%s: stat: %m", path);
	if (S_ISDIR(st.st_mode))
		return fail(EINVAL,
			"%s: is a directory, not a disk image: name a file "
			"in it",
			path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return fail(
			EINVAL, "%s: neither a file nor a block device", path);
	*ret_size = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, ret_size) != 0)
		return fail(errno, "%s: size: %m", path);
	*ret_is_device = S_ISBLK(st.st_mode);
	*ret_fd = take_fd(fd);
	return 0;
}

int image_read(int fd, const char *name, void *buf, size_t len, uint64_t off,
	size_t *ret_len)
{
	unsigned char *p = buf;
	size_t have = 0;

	while (have < len) {
		ssize_t n =
			pread(fd, p + have, len - have, (off_t)(off + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(errno, "%s: read: %m", name);
		if (n == 0)
			break;
		have += (size_t)n;
	}
	*ret_len = have;
	return 0;
}

int image_format_named(const char *name, enum image_format *ret)
{
	for (size_t i = 0; i < N_ELEMS(formats); i++) {
		if (strcmp(name, formats[i].name) == 0 ||
			strcmp(name, formats[i].driver) == 0) {
			*ret = (enum image_format)i;
			return 0;
		}
	}
	return -EINVAL;
}

enum image_format image_format_of_path(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *dot = strrchr(slash ? slash : path, '.');

	for (size_t i = 0; dot && i < N_ELEMS(formats); i++) {
		if (strcasecmp(dot + 1, formats[i].name) == 0)
			return (enum image_format)i;
	}
	return IMAGE_RAW;
}

const char *image_format_name(enum image_format f)
{
	return formats[f].name;
}

const char *image_format_driver(enum image_format f)
{
	return formats[f].driver;
}

static bool begins(const void *buf, size_t len, const char *with)
{
	size_t n = strlen(with);

	return len >= n && memcmp(buf, with, n) == 0;
}

/* What the bytes claim to be; raw if nothing. */
static int claimed(
	int fd, const char *path, uint64_t size, enum image_format *ret)
{
	unsigned char head[512];
	unsigned char tail[8];
	size_t len = 0;
	size_t tail_len = 0;
	int r = image_read(fd, path, head, sizeof(head), 0, &len);

	/* the one footer without a header: a VHD of fixed size */
	if (r == 0 && size >= 512)
		r = image_read(
			fd, path, tail, sizeof(tail), size - 512, &tail_len);
	if (r < 0)
		return r;
	if (begins(head, len, "QFI\xfb"))
		*ret = IMAGE_QCOW2;
	else if (begins(head, len, "KDMV") || begins(head, len, "COWD") ||
		 begins(head, len, "# Disk DescriptorFile"))
		*ret = IMAGE_VMDK;
	else if (begins(head, len, "vhdxfile"))
		*ret = IMAGE_VHDX;
	else if (len >= 0x44 && get_le32(head + 0x40) == 0xbeda107f)
		*ret = IMAGE_VDI;
	else if (begins(head, len, "conectix") ||
		 begins(tail, tail_len, "conectix"))
		*ret = IMAGE_VHD;
	else
		*ret = IMAGE_RAW;
	return 0;
}

int image_format_check(
	int fd, const char *path, uint64_t size, enum image_format f, bool said)
{
	enum image_format claim;
	const char *is = formats[f].name;
	int r;

	if (f == IMAGE_RAW && said)
		return 0;
	r = claimed(fd, path, size, &claim);
	if (r < 0 || claim == f)
		return r;
	if (f == IMAGE_RAW)
		return fail(EINVAL,
			"%s: looks like %s but its name says raw: say "
			"--format %s or --format raw",
			path, formats[claim].name, formats[claim].name);
	if (claim == IMAGE_RAW)
		return fail(EINVAL,
			"%s: not %s, though %s says so: say --format raw if "
			"it is the bytes of a disk",
			path, is, said ? "--format" : "its name");
	return fail(EINVAL, "%s: looks like %s, not %s: say --format %s", path,
		formats[claim].name, is, formats[claim].name);
}

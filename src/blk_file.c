/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "src/blk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "src/bytes.h"
#include "src/log.h"

struct file {
	struct blk blk; /* must come first */
	int fd;
	bool is_device;
	struct stat opened;
};

static struct file *file_of(struct blk *b)
{
	return (struct file *)b;
}

static int shrank(const struct blk *b, uint64_t off)
{
	return fail(EIO, "%s: offset %" PRIu64 ": shrank while being read",
		b->name, off);
}

static int file_pread(struct blk *b, void *buf, size_t len, uint64_t off)
{
	unsigned char *p = buf;

	while (len > 0) {
		ssize_t n = pread(file_of(b)->fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(errno, "%s: offset %" PRIu64 ": read: %m",
				b->name, off);
		if (n == 0)
			return shrank(b, off);
		p += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

static int file_pwrite(struct blk *b, const void *buf, size_t len, uint64_t off)
{
	const unsigned char *p = buf;

	while (len > 0) {
		ssize_t n = pwrite(file_of(b)->fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(errno, "%s: offset %" PRIu64 ": write: %m",
				b->name, off);
		p += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

/*
 * Space is given back where the file system or the device can; else zeroes are
 * allocated without being sent; else they are written. Why one of these cannot
 * be done is not asked: the last one tells of errors that are real.
 */
static int file_zero(struct blk *b, uint64_t off, uint64_t len)
{
	static const unsigned char zeroes[1 << 16];
	int fd = file_of(b)->fd;

	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		    (off_t)off, (off_t)len) == 0 ||
		fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
			(off_t)off, (off_t)len) == 0)
		return 0;
	while (len > 0) {
		size_t n = MIN_OF(len, (uint64_t)sizeof(zeroes));
		int r = file_pwrite(b, zeroes, n, off);

		if (r < 0)
			return r;
		off += n;
		len -= n;
	}
	return 0;
}

static int file_extent(
	struct blk *b, uint64_t off, uint64_t len, struct blk_extent *ret)
{
	struct file *f = file_of(b);
	struct stat st;
	off_t at;

	*ret = (struct blk_extent){ .len = len, .kind = BLK_DATA };
	if (f->is_device)
		return 0;
	at = lseek(f->fd, (off_t)off, SEEK_DATA);
	if (at < 0 && errno == ENXIO) {
		/* only a hole is left, or OFF is no longer in the file */
		if (fstat(f->fd, &st) != 0)
			return fail(errno, "%s: stat: %m", b->name);
		if ((uint64_t)st.st_size < b->size)
			return shrank(b, off);
		ret->kind = BLK_ZERO;
	} else if (at > (off_t)off) {
		ret->len = MIN_OF(len, (uint64_t)at - off);
		ret->kind = BLK_ZERO;
	} else if (at >= 0) {
		at = lseek(f->fd, (off_t)off, SEEK_HOLE);
		if (at > (off_t)off)
			ret->len = MIN_OF(len, (uint64_t)at - off);
	}
	return 0;
}

static int file_flush(struct blk *b)
{
	if (fsync(file_of(b)->fd) != 0)
		return fail(errno, "%s: fsync: %m", b->name);
	return 0;
}

static int device_size(int fd, const char *name, uint64_t *ret)
{
	if (ioctl(fd, BLKGETSIZE64, ret) != 0)
		return fail(errno, "%s: size: %m", name);
	return 0;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static int file_changed(struct blk *b)
{
	struct file *f = file_of(b);
	uint64_t size;
	struct stat st;
	int r;

	/* a device node's times say nothing of what is written to the device */
	if (f->is_device) {
		r = device_size(f->fd, b->name, &size);
		return r < 0 ? r : size != b->size;
	}
	if (fstat(f->fd, &st) != 0)
		return fail(errno, "%s: stat: %m", b->name);
	return st.st_size != f->opened.st_size ||
	       !same_time(&st.st_mtim, &f->opened.st_mtim) ||
	       !same_time(&st.st_ctim, &f->opened.st_ctim);
}

static void file_close(struct blk *b)
{
	struct file *f = file_of(b);

	close(f->fd);
	free(b->name);
	free(f);
}

static const struct blk_ops reader_ops = {
	.pread = file_pread,
	.extent = file_extent,
	.changed = file_changed,
	.close = file_close,
};

/* its own writes are no change that anyone needs to hear of */
static const struct blk_ops writer_ops = {
	.pread = file_pread,
	.pwrite = file_pwrite,
	.zero = file_zero,
	.extent = file_extent,
	.flush = file_flush,
	.close = file_close,
};

static int device_sizes(struct file *f, const char *name)
{
	int sector;
	int r = device_size(f->fd, name, &f->blk.size);

	if (r < 0)
		return r;
	if (ioctl(f->fd, BLKSSZGET, &sector) != 0)
		return fail(errno, "%s: sector size: %m", name);
	/* optical media have 2048, which no guest disk has */
	if (sector >= 4096)
		f->blk.sector_size = 4096;
	return 0;
}

int blk_file_new(int fd, const char *name, bool writable, struct blk **ret)
{
	scoped(freep) struct file *f = calloc(1, sizeof(*f));
	scoped(closep) int owned_fd = fd;
	int r;

	if (!f)
		return fail(ENOMEM, "%s: %m", name);
	if (fstat(fd, &f->opened) != 0)
		return fail(errno, "%s: stat: %m", name);
	f->fd = fd;
	f->blk.ops = writable ? &writer_ops : &reader_ops;
	f->blk.size = (uint64_t)f->opened.st_size;
	f->blk.sector_size = 512;
	f->is_device = S_ISBLK(f->opened.st_mode);
	if (!f->is_device && !S_ISREG(f->opened.st_mode))
		return fail(
			EINVAL, "%s: neither a file nor a block device", name);
	if (f->is_device) {
		r = device_sizes(f, name);
		if (r < 0)
			return r;
	}
	f->blk.name = strdup(name);
	if (!f->blk.name)
		return fail(ENOMEM, "%s: %m", name);
	(void)take_fd(owned_fd);
	*ret = &take(f)->blk;
	return 0;
}

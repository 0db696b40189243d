/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuse-null - a FUSE file system with one file, `null`, of which every read is
 * answered from the same bytes in memory, and every write copied there: how
 * fast FUSE can be on this machine, with nothing behind it.
 *
 *   fuse-null MOUNTPOINT SIZE_MIB [THREADS [CLONE_FD]]
 *
 * Serves in the foreground until it is unmounted, with the options, open flags
 * and timeouts that a mount of hivefs has (fs/ops.c). The file is PERIOD bytes,
 * again and again: large enough to be no better in a processor's cache than the
 * data of a chunk cache is. A second name, `clone`, is the same file opened as
 * a clone's is: past the page cache, of which attributes are never cached.
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 312
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "src/bytes.h"

#define INO_FILE 2
#define INO_CLONE 3
#define FOR_EVER 86400.0
#define PERIOD (UINT64_C(64) << 20)

struct null_fs {
	uint64_t size;
	uint8_t *data; /* PERIOD bytes, and 1 MiB more to read past the end */
};

static struct null_fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static struct stat stat_of(struct null_fs *fs, fuse_ino_t ino)
{
	struct stat st = { .st_ino = ino, .st_nlink = 1 };

	if (ino == FUSE_ROOT_ID) {
		st.st_mode = S_IFDIR | 0555;
	} else {
		st.st_mode = S_IFREG | 0666;
		st.st_size = (off_t)fs->size;
		st.st_blocks = (blkcnt_t)(fs->size / 512);
	}
	return st;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
	conn->want &= ~(unsigned)FUSE_CAP_WRITEBACK_CACHE;
	conn->max_write = MIN_OF(conn->max_write, 1u << 20);
	conn->max_readahead = 1 << 20;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
}

static void op_lookup(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	bool clone = strcmp(name, "clone") == 0;
	fuse_ino_t file = clone ? INO_CLONE : INO_FILE;
	struct fuse_entry_param e = { .ino = file,
		.attr = stat_of(fs_of(req), file),
		.attr_timeout = clone ? 0 : FOR_EVER,
		.entry_timeout = FOR_EVER };

	if (ino != FUSE_ROOT_ID || (!clone && strcmp(name, "null") != 0))
		fuse_reply_err(req, ENOENT);
	else
		fuse_reply_entry(req, &e);
}

static void op_getattr(
	fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = stat_of(fs_of(req), ino);

	(void)fi;
	fuse_reply_attr(req, &st, ino == INO_CLONE ? 0 : FOR_EVER);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (ino == INO_CLONE)
		fi->direct_io = 1;
	else
		fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	struct null_fs *fs = fs_of(req);
	uint64_t from = MIN_OF((uint64_t)off, fs->size);
	const uint8_t *p = fs->data + from % PERIOD;

	(void)ino;
	(void)fi;
	size = MIN_OF((size_t)(fs->size - from), size);
	fuse_reply_buf(req, (const char *)p, MIN_OF(size, (size_t)1 << 20));
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf,
	size_t size, off_t off, struct fuse_file_info *fi)
{
	struct null_fs *fs = fs_of(req);

	(void)ino;
	(void)fi;
	memcpy(fs->data + (uint64_t)off % PERIOD, buf, size);
	fuse_reply_write(req, size);
}

static const struct fuse_lowlevel_ops null_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.open = op_open,
	.read = op_read,
	.write = op_write,
};

static uint64_t number(const char *text)
{
	char *end;
	unsigned long long v = strtoull(text, &end, 10);

	if (end == text || *end)
		errx(2, "'%s' is not a number", text);
	return v;
}

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	struct null_fs fs;
	struct fuse_session *se;
	unsigned threads;

	if (argc < 3 || argc > 5)
		errx(2, "usage: fuse-null MOUNTPOINT SIZE_MIB [THREADS "
			"[CLONE_FD]]");
	fs.size = number(argv[2]) << 20;
	threads = argc > 3 ? (unsigned)number(argv[3]) : 16;
	/* in large pages, which are copied from faster */
	fs.data = aligned_alloc(2 << 20, PERIOD + (2 << 20));
	if (!fs.data || !config)
		err(1, "memory");
	(void)madvise(fs.data, PERIOD + (2 << 20), MADV_HUGEPAGE);
	for (size_t i = 0; i < PERIOD + (1 << 20); i += 8)
		put_le64(fs.data + i, (i + 1) * UINT64_C(0x9e3779b97f4a7c15));
	if (fuse_opt_add_arg(&args, "fuse-null") < 0 ||
		fuse_opt_add_arg(
			&args, "-odefault_permissions,subtype=fuse-null") < 0)
		err(1, "memory");
	se = fuse_session_new(&args, &null_ops, sizeof(null_ops), &fs);
	if (!se || fuse_set_signal_handlers(se) < 0 ||
		fuse_session_mount(se, argv[1]) < 0)
		return 1;
	fuse_loop_cfg_set_max_threads(config, threads);
	fuse_loop_cfg_set_idle_threads(config, threads);
	fuse_loop_cfg_set_clone_fd(config, argc > 4 && number(argv[4]));
	if (threads > 1)
		fuse_session_loop_mt(se, config);
	else
		fuse_session_loop(se);
	fuse_session_unmount(se);
	fuse_remove_signal_handlers(se);
	fuse_session_destroy(se);
	fuse_loop_cfg_destroy(config);
	fuse_opt_free_args(&args);
	free(fs.data);
	return 0;
}

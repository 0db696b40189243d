/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "src/in_use.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "src/log.h"

/*
 * qemu's block/file-posix.c: a shared lock on byte 100 + i says that its owner
 * uses permission i; 1 is to write. Asking for an exclusive one finds it.
 */
static bool qemu_writes(int fd)
{
	struct flock lock = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = 101,
		.l_len = 1,
	};

	/* a file system without locks has none to find */
	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/*
 * A read lease is granted only while nobody has the file open for writing,
 * with locks or without (VirtualBox, VMware, a copy that is still running). It
 * is given back at once. It is for the file's owner and root to ask for; and
 * not on NFS and SMB, which refuse it with the same EAGAIN whenever the server
 * has not delegated the file (nfs4_setlease, cifs_setlease).
 */
static bool has_writer(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) != 0 || fs.f_type == NFS_SUPER_MAGIC ||
		fs.f_type == CIFS_SUPER_MAGIC || fs.f_type == SMB2_SUPER_MAGIC)
		return false;
	/* what breaks it in between: the usual SIGIO would end the process */
	if (fcntl(fd, F_SETSIG, SIGURG) != 0)
		return false;
	if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0)
		return errno == EAGAIN;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return false;
}

int in_use(int fd, const char *path)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return fail(errno, "%s: stat: %m", path);
	if (qemu_writes(fd))
		return 1;
	if (S_ISBLK(st.st_mode)) {
		scoped(closep) int alone =
			open(path, O_RDONLY | O_EXCL | O_CLOEXEC);

		return alone < 0 && errno == EBUSY;
	}
	return has_writer(fd);
}

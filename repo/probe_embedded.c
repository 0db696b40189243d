/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/probe_embedded.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "repo/repodir.h"
#include "src/bytes.h"
#include "src/monotonic.h"
#include "src/text.h"

#define MIB (UINT64_C(1) << 20)
#define WRITTEN (8 * MIB)
#define RESERVE_LEN (16 * MIB) /* FORMAT.md */

struct look {
	const struct probe *p;
	const char *path;
	int fd;
	bool writable;
};

static void check_kind(struct look *l)
{
	struct statfs fs;

	if (fstatfs(l->fd, &fs) != 0)
		probe_say(l->p, "file system", PROBE_FAILED, "%s: %m", l->path);
	else if ((uint32_t)fs.f_type == 0x01021994 ||
		 (uint32_t)fs.f_type == 0x858458f6)
		probe_say(l->p, "file system", PROBE_WARNING,
			"%s is in memory: the repository is gone with the next "
			"start of this host; move it to a disk",
			l->path);
	else if ((uint32_t)fs.f_type == 0x794c7630)
		probe_say(l->p, "file system", PROBE_WARNING,
			"%s is on an overlay, as in a container: the "
			"repository is gone with it; mount a volume there",
			l->path);
	else
		probe_say(l->p, "file system", PROBE_OK,
			"a local one (type %#" PRIx32 ")", (uint32_t)fs.f_type);
}

static void check_space(struct look *l)
{
	struct statvfs v;
	uint64_t space, total;
	char a[16], b[16];

	if (fstatvfs(l->fd, &v) != 0) {
		probe_say(l->p, "space", PROBE_FAILED, "%s: %m", l->path);
		return;
	}
	space = (uint64_t)v.f_bavail * v.f_frsize;
	total = (uint64_t)v.f_blocks * v.f_frsize;
	size_text(space, a);
	size_text(total, b);
	if (space < 64 * MIB)
		probe_say(l->p, "space", PROBE_FAILED,
			"%s of %s are free: prune points and run hivefs gc, or "
			"make the file system larger",
			a, b);
	else if (space < total / 20)
		probe_say(l->p, "space", PROBE_WARNING,
			"%s of %s are free, less than a twentieth", a, b);
	else
		probe_say(l->p, "space", PROBE_OK, "%s of %s are free", a, b);
	/* btrfs and others make them as they are needed, and say 0 */
	if (v.f_files && v.f_favail < 1000)
		probe_say(l->p, "inodes", PROBE_WARNING,
			"%" PRIu64 " are free: remove small files",
			(uint64_t)v.f_favail);
}

static void check_permissions(struct look *l)
{
	static const char *const parts[] = { ".", "segments", "index" };
	struct stat st;

	l->writable = true;
	for (unsigned i = 0; i < N_ELEMS(parts); i++) {
		if (faccessat(l->fd, parts[i], R_OK | X_OK, AT_EACCESS) != 0) {
			probe_say(l->p, "permissions", PROBE_FAILED,
				"%s/%s: %m; give it to the user that runs "
				"hivefs",
				l->path, parts[i]);
			l->writable = false;
			return;
		}
		if (faccessat(l->fd, parts[i], W_OK, AT_EACCESS) != 0)
			l->writable = false;
	}
	if (!l->writable && errno == EROFS)
		probe_say(l->p, "permissions", PROBE_WARNING,
			"%s is on a read-only file system: points can be read, "
			"and no more",
			l->path);
	else if (!l->writable)
		probe_say(l->p, "permissions", PROBE_FAILED,
			"%s cannot be written to by this user: give it to the "
			"one that runs hivefs, or run this as that one",
			l->path);
	else if (fstat(l->fd, &st) == 0 && st.st_mode & 077)
		probe_say(l->p, "permissions", PROBE_WARNING,
			"other users can look into %s and so into every disk: "
			"chmod 700 %s",
			l->path, l->path);
	else
		probe_say(l->p, "permissions", PROBE_OK,
			"for its owner alone to read and write");
}

/* A file without a name: nothing is left of it whatever happens. */
static int scratch_file(struct look *l)
{
	char *name = NULL;
	int fd =
		openat(l->fd, "segments", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd;
	if (asprintf(&name, "%s/segments/doctor.XXXXXX", l->path) < 0)
		return -1;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd >= 0)
		unlink(name);
	free(name);
	return fd;
}

static void check_sync(struct look *l, int fd)
{
	size_t len = WRITTEN;
	scoped(freep) uint8_t *data = malloc(len);
	double begin = monotonic_seconds() * 1e3, small;
	bool ok = data != NULL;

	if (ok) {
		memset(data, 0x5a, len);
		ok = pwrite(fd, data, 4096, 0) == 4096 && fdatasync(fd) == 0;
	}
	small = monotonic_seconds() * 1e3 - begin;
	begin = monotonic_seconds() * 1e3;
	if (ok) {
		errno = ENOSPC; /* of a short one */
		ok = pwrite(fd, data, len, 4096) == (ssize_t)len &&
		     fdatasync(fd) == 0;
	}
	if (!ok)
		probe_say(l->p, "sync", PROBE_FAILED,
			"%s: what is written does not get to the disk: %m; "
			"look into the kernel's log",
			l->path);
	else
		probe_say(l->p, "sync", PROBE_OK,
			"4 KiB are on the disk in %.1f ms, 8 MiB at %.0f "
			"MiB/s",
			small, 8e3 / (monotonic_seconds() * 1e3 - begin));
}

/* Two descriptors of the file must not both get it. */
static void check_locks(struct look *l, int fd)
{
	struct flock all = { .l_type = F_WRLCK }, test = { .l_type = F_WRLCK };
	scoped(freep) char *path = NULL;
	scoped(closep) int other = -1;

	if (asprintf(&path, "/proc/self/fd/%d", fd) >= 0)
		other = open(path, O_RDWR | O_CLOEXEC);
	if (other < 0 || fcntl(fd, F_OFD_SETLK, &all) != 0 ||
		fcntl(other, F_OFD_GETLK, &test) != 0)
		probe_say(l->p, "locks", PROBE_FAILED,
			"%s: files cannot be locked there: %m; use another "
			"file system",
			l->path);
	else if (test.l_type == F_UNLCK)
		probe_say(l->p, "locks", PROBE_FAILED,
			"%s: a file that is locked can be locked again: use "
			"another file system",
			l->path);
	else
		probe_say(l->p, "locks", PROBE_OK,
			"a locked file is refused to others");
}

/* What one process writes into a shared mapping is what others read. */
static void check_mapping(struct look *l, int fd)
{
	char back[8] = "";
	char *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	bool ok = at != MAP_FAILED;

	if (ok) {
		memcpy(at, "mapped", 7);
		ok = pread(fd, back, 7, 0) == 7 && memcmp(back, at, 7) == 0;
		munmap(at, 4096);
	}
	if (ok)
		probe_say(l->p, "mapping", PROBE_OK,
			"files can be mapped and shared");
	else
		probe_say(l->p, "mapping", PROBE_FAILED,
			"%s: files cannot be mapped and shared there: use "
			"another file system",
			l->path);
}

static void check_files(struct look *l)
{
	scoped(closep) int fd = scratch_file(l);

	if (fd < 0) {
		probe_say(l->p, "sync", PROBE_FAILED,
			"%s/segments: no file can be made: %m", l->path);
		l->writable = false;
		return;
	}
	check_sync(l, fd);
	check_locks(l, fd);
	check_mapping(l, fd);
}

static void check_rest(struct look *l)
{
	struct stat st;

	if (faccessat(l->fd, "index.new", F_OK, 0) == 0 ||
		faccessat(l->fd, "index.old", F_OK, 0) == 0)
		probe_say(l->p, "index", PROBE_WARNING,
			"a rebuild of it was interrupted: hivefs repair "
			"--index does it again");
	if (faccessat(l->fd, "index/data.mdb", F_OK, 0) != 0)
		probe_say(l->p, "index", PROBE_FAILED,
			"%s/index: is missing: hivefs repair --index makes it "
			"from the segments",
			l->path);
	if (fstatat(l->fd, "reserve", &st, 0) != 0 ||
		(uint64_t)st.st_size < RESERVE_LEN)
		probe_say(l->p, "reserve", PROBE_WARNING,
			"the space kept back for removing points on a full "
			"disk is not there: it comes back with the next backup "
			"once 80 MiB are free");
}

int probe_embedded(const struct probe *p, const char *path, bool *ret_writable)
{
	scoped(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct look l = { .p = p, .path = path, .fd = fd };

	if (fd < 0 && errno != ENOENT && errno != ENOTDIR) {
		probe_say(p, "permissions", PROBE_FAILED, "%s: %m", path);
		return 0;
	}
	if (fd < 0 || faccessat(fd, "segments", F_OK, 0) != 0) {
		probe_say(p, "repository", PROBE_FAILED,
			"%s: there is none: hivefs init %s makes one", path,
			path);
		return -ENOMEDIUM;
	}
	check_kind(&l);
	check_space(&l);
	check_permissions(&l);
	if (l.writable)
		check_files(&l);
	check_rest(&l);
	*ret_writable = l.writable;
	return 0;
}

static int count_one(void *arg, const struct doc *d)
{
	(void)d;
	++*(uint64_t *)arg;
	return 0;
}

void probe_segments(const struct probe *p, struct repo *r)
{
	uint64_t gone = 0;

	probe_listen();
	if (store_gone(r->store, count_one, &gone) < 0)
		probe_heard(p, "segments", PROBE_FAILED, NULL);
	else if (gone)
		probe_say(p, "segments", PROBE_FAILED,
			"%" PRIu64 " documents are gone with the files they "
			"were in: hivefs verify says what that touches",
			gone);
	else
		probe_say(p, "segments", PROBE_OK, "none is missing or short");
}

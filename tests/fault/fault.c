/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault - a library to be loaded before a program, whose calls that change,
 * sync or read what lies below $FAULT_DIR, and whose allocations, are counted,
 * made to fail, or written down.
 *
 *   $FAULT_COUNT  a file of 4 numbers of 64 bits: the writes, syncs, reads and
 *                 allocations so far, of all programs that share it
 *   $FAULT_CALL   write, sync, read or alloc: which of them the fault is of
 *   $FAULT_AT     the number of the call that fails, from 1 on
 *   $FAULT_HOW    eio, enospc; short: half of it is done; die: SIGKILL instead.
 *                 An allocation fails with ENOMEM
 *   $FAULT_ON     so do all behind it
 *   $FAULT_FILE   only calls on paths that hold this are counted
 *   $FAULT_TRACE  changes and syncs are appended to this file, for power.py,
 *                 and nothing is synced
 *
 * A write is whatever changes bytes, lengths or names. Mapped memory is not
 * seen: LMDB only reads by it, but for the table of its readers.
 */
#define _GNU_SOURCE
/* open() is to be called that here, and open64() as well */
#undef _FILE_OFFSET_BITS
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))
#ifdef __clang__
#define ALIAS(name) __attribute__((visibility("default"), alias(#name)))
#else /* which wants to have all attributes repeated */
#define ALIAS(name)                                                            \
	__attribute__((visibility("default"), alias(#name), copy(name)))
#endif
#define FDS 1024
#define TRACE_IOVS 1021 /* and three make what the kernel takes */

enum call { WRITE, SYNC, READ, ALLOC, N_CALLS };
enum how { NONE, EIO_HOW, ENOSPC_HOW, SHORT, DIE };

/* As power.py reads them; the bytes of two names, then those of a write. */
struct op {
	uint8_t kind, flag;
	uint16_t n_name, n_was, zero;
	uint32_t len, zero2;
	uint64_t ino, ino2, off, site;
};

static struct {
	atomic_bool on;
	char dir[512];
	size_t dir_len;
	const char *file; /* NULL: all */
	_Atomic uint64_t *count;
	enum call call;
	uint64_t at;
	enum how how;
	bool all_behind;
	int trace;
	struct {
		ino_t ino; /* 0: not ours */
		bool lasts;
	} fd[FDS];
	pthread_mutex_t turn;
} f = { .trace = -1, .turn = PTHREAD_MUTEX_INITIALIZER };

static _Thread_local uintptr_t lmdb_site;

static bool among(const char *name, const char *const *names, int n, int *ret)
{
	for (int i = 0; name && i < n; i++)
		if (strcmp(name, names[i]) == 0) {
			*ret = i;
			return true;
		}
	return false;
}

__attribute__((constructor)) static void begin(void)
{
	static const char *const calls[] = { "write", "sync", "read", "alloc" };
	static const char *const hows[] = { "none", "eio", "enospc", "short",
		"die" };
	const char *dir = getenv("FAULT_DIR"), *count = getenv("FAULT_COUNT");
	const char *trace = getenv("FAULT_TRACE"), *at = getenv("FAULT_AT");
	int fd, i;

	if (!dir)
		return;
	f.dir_len = (size_t)snprintf(f.dir, sizeof(f.dir), "%s", dir);
	if (count) {
		fd = open(count, O_RDWR | O_CLOEXEC);
		f.count = mmap(
			NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (fd < 0 || f.count == MAP_FAILED)
			abort();
		close(fd);
	}
	if (among(getenv("FAULT_CALL"), calls, N_CALLS, &i))
		f.call = (enum call)i;
	if (among(getenv("FAULT_HOW"), hows, DIE + 1, &i))
		f.how = (enum how)i;
	f.at = at ? strtoull(at, NULL, 10) : 0;
	f.all_behind = getenv("FAULT_ON") != NULL;
	f.file = getenv("FAULT_FILE");
	if (trace) {
		f.trace = open(trace, O_WRONLY | O_APPEND | O_CLOEXEC);
		if (f.trace < 0)
			abort();
	}
	atomic_store(&f.on, true);
}

/* Is it one of those that are counted? FD is its file, or where PATH begins. */
static bool is_meant(int fd, const char *path)
{
	char link[32], name[4096] = "";

	if (!f.file)
		return true;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (fd >= 0 && readlink(link, name, sizeof(name) - 1) < 0)
		return false;
	return strstr(name, f.file) || (path && strstr(path, f.file));
}

/* Counts it; what is to become of it. */
static enum how fate(enum call call, int fd, const char *path)
{
	uint64_t n;

	if (!atomic_load(&f.on) || !f.count || !is_meant(fd, path))
		return NONE;
	n = atomic_fetch_add(&f.count[call], 1) + 1;
	if (call != f.call || f.at == 0 || n < f.at ||
		(n > f.at && !f.all_behind))
		return NONE;
	if (f.how == DIE) {
		kill(getpid(), SIGKILL);
		for (;;)
			pause();
	}
	return f.how;
}

/* The same, of a call that does all or nothing. */
static bool fails(enum call call, int fd, const char *path)
{
	enum how how = fate(call, fd, path);

	if (how != NONE)
		errno = how == ENOSPC_HOW ? ENOSPC : EIO;
	return how != NONE;
}

/* The number of what FD is open on, if that is ours; a number that was used
 * again for something that we did not see opened is not. */
static ino_t ours(int fd)
{
	struct stat st;
	ino_t ino;

	if (!atomic_load(&f.on) || fd < 0 || fd >= FDS)
		return 0;
	ino = f.fd[fd].ino;
	if (ino == 0 || fstat(fd, &st) != 0 || st.st_ino != ino)
		return 0;
	return ino;
}

static bool below(int at, const char *path)
{
	if (!atomic_load(&f.on))
		return false;
	if (*path == '/')
		return strncmp(path, f.dir, f.dir_len) == 0 &&
		       (path[f.dir_len] == '/' || !path[f.dir_len]);
	return at != AT_FDCWD && ours(at) != 0;
}

/* One at a time, of all processes: the trace is in the order of the calls. */
static void turn_begin(void)
{
	if (f.trace < 0)
		return;
	pthread_mutex_lock(&f.turn);
	flock(f.trace, LOCK_EX);
}

static void turn_end(void)
{
	int err = errno;

	if (f.trace < 0)
		return;
	flock(f.trace, LOCK_UN);
	pthread_mutex_unlock(&f.turn);
	errno = err;
}

/* Where in the program the call was. */
static uint64_t site_of(void *caller)
{
	uintptr_t at = lmdb_site ? lmdb_site : (uintptr_t)caller;
	Dl_info info;

	if (!dladdr((void *)at, &info))
		return 0;
	return at - (uintptr_t)info.dli_fbase - 1;
}

static void note(struct op op, const char *name, const char *was,
	const struct iovec *iov, int n)
{
	struct iovec all[TRACE_IOVS + 3];
	int err = errno;

	if (f.trace < 0)
		return;
	op.n_name = name ? (uint16_t)strlen(name) : 0;
	op.n_was = was ? (uint16_t)strlen(was) : 0;
	all[0] = (struct iovec){ &op, sizeof(op) };
	all[1] = (struct iovec){ (void *)(uintptr_t)name, op.n_name };
	all[2] = (struct iovec){ (void *)(uintptr_t)was, op.n_was };
	for (int i = 0; i < n; i++) {
		all[3 + i] = iov[i];
		op.len += (uint32_t)iov[i].iov_len;
	}
	if (syscall(SYS_writev, f.trace, all, n + 3) < 0)
		abort();
	errno = err;
}

/* The directory that holds PATH's last name, which is *NAME. */
static ino_t dir_of(int at, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char dir[4096];
	struct stat st;

	*name = slash ? slash + 1 : path;
	if (!slash)
		return ours(at);
	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path) + 1, path);
	return fstatat(at, dir, &st, 0) == 0 ? st.st_ino : 0;
}

static ino_t ino_at(int at, const char *path)
{
	struct stat st;

	return fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;
}

static void note_name(int at, const char *path, bool dir)
{
	const char *name;
	ino_t in = dir_of(at, path, &name);

	note((struct op){ .kind = 'L',
		     .flag = dir,
		     .ino = in,
		     .ino2 = ino_at(at, path) },
		name, NULL, NULL, 0);
}

static int open_ours(int at, const char *path, int flags, mode_t mode)
{
	bool changes = flags & (O_CREAT | O_TRUNC);
	bool is_new, cut;
	int fd;

	/* to create what is there changes nothing */
	turn_begin();
	is_new = flags & O_CREAT && ino_at(at, path) == 0;
	cut = flags & O_TRUNC && !is_new;
	if (fails(is_new || cut ? WRITE : READ, at, path)) {
		turn_end();
		return -1;
	}
	fd = (int)syscall(SYS_openat, at, path, flags, mode);
	if (fd >= 0 && is_new)
		note_name(at, path, false);
	if (fd >= 0 && cut && changes)
		note((struct op){ .kind = 'T', .ino = ino_at(at, path) }, NULL,
			NULL, NULL, 0);
	turn_end();
	return fd;
}

static int open_any(int at, const char *path, int flags, mode_t mode)
{
	bool mine = below(at, path);
	struct stat st;
	int fd = mine ? open_ours(at, path, flags, mode)
		      : (int)syscall(SYS_openat, at, path, flags, mode);

	if (fd >= 0 && fd < FDS && atomic_load(&f.on)) {
		f.fd[fd].ino = mine && fstat(fd, &st) == 0 ? st.st_ino : 0;
		f.fd[fd].lasts = (flags & O_DSYNC) != 0;
	}
	return fd;
}

static mode_t mode_in(int flags, va_list ap)
{
	return flags & O_CREAT ? va_arg(ap, mode_t) : 0;
}

PUBLIC int openat(int at, const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_in(flags, ap);
	va_end(ap);
	return open_any(at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...) ALIAS(openat);

PUBLIC int open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_in(flags, ap);
	va_end(ap);
	return open_any(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) ALIAS(open);

PUBLIC int close(int fd)
{
	if (fd >= 0 && fd < FDS)
		f.fd[fd].ino = 0;
	return (int)syscall(SYS_close, fd);
}

PUBLIC int mkdirat(int at, const char *path, mode_t mode)
{
	bool mine = below(at, path);
	int r;

	if (mine && fails(WRITE, at, path))
		return -1;
	turn_begin();
	r = (int)syscall(SYS_mkdirat, at, path, mode);
	if (mine && r == 0)
		note_name(at, path, true);
	turn_end();
	return r;
}

PUBLIC int mkdir(const char *path, mode_t mode)
{
	return mkdirat(AT_FDCWD, path, mode);
}

PUBLIC int renameat2(
	int from, const char *a, int to, const char *b, unsigned flags)
{
	bool mine = below(from, a);
	const char *name_a, *name_b;
	ino_t in;
	int r;

	if (mine && fails(WRITE, from, a))
		return -1;
	turn_begin();
	r = (int)syscall(SYS_renameat2, from, a, to, b, flags);
	if (mine && r == 0) {
		in = dir_of(from, a, &name_a);
		if (in != dir_of(to, b, &name_b))
			abort();
		note((struct op){ .kind = flags ? 'X' : 'R', .ino = in },
			name_b, name_a, NULL, 0);
	}
	turn_end();
	return r;
}

PUBLIC int renameat(int from, const char *a, int to, const char *b)
{
	return renameat2(from, a, to, b, 0);
}

PUBLIC int rename(const char *a, const char *b)
{
	return renameat2(AT_FDCWD, a, AT_FDCWD, b, 0);
}

PUBLIC int unlinkat(int at, const char *path, int flags)
{
	bool mine = below(at, path);
	const char *name;
	ino_t in;
	int r;

	if (mine && fails(WRITE, at, path))
		return -1;
	turn_begin();
	in = mine ? dir_of(at, path, &name) : 0;
	r = (int)syscall(SYS_unlinkat, at, path, flags);
	if (mine && r == 0)
		note((struct op){ .kind = 'U', .ino = in }, name, NULL, NULL,
			0);
	turn_end();
	return r;
}

PUBLIC int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

PUBLIC int rmdir(const char *path)
{
	return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

PUBLIC int ftruncate(int fd, off_t len)
{
	ino_t ino = ours(fd);
	int r;

	if (ino && fails(WRITE, fd, NULL))
		return -1;
	turn_begin();
	r = (int)syscall(SYS_ftruncate, fd, len);
	if (ino && r == 0)
		note(
			(struct op){
				.kind = 'T', .ino = ino, .off = (uint64_t)len },
			NULL, NULL, NULL, 0);
	turn_end();
	return r;
}
int ftruncate64(int fd, off_t len) ALIAS(ftruncate);

PUBLIC int fallocate(int fd, int mode, off_t off, off_t len)
{
	ino_t ino = ours(fd);
	struct stat st;
	int r;

	if (ino && fails(WRITE, fd, NULL))
		return -1;
	turn_begin();
	r = (int)syscall(SYS_fallocate, fd, mode, off, len);
	if (ino && r == 0 && fstat(fd, &st) == 0)
		note((struct op){ .kind = 'T',
			     .ino = ino,
			     .off = (uint64_t)st.st_size },
			NULL, NULL, NULL, 0);
	turn_end();
	return r;
}
int fallocate64(int fd, int mode, off_t off, off_t len) ALIAS(fallocate);

static int sync_any(long call, int fd, void *caller)
{
	ino_t ino = ours(fd);

	if (!ino)
		return (int)syscall(call, fd);
	if (fails(SYNC, fd, NULL))
		return -1;
	if (f.trace < 0)
		return (int)syscall(call, fd);
	turn_begin();
	note((struct op){ .kind = 'S', .ino = ino, .site = site_of(caller) },
		NULL, NULL, NULL, 0);
	turn_end();
	return 0;
}

PUBLIC int fsync(int fd)
{
	return sync_any(SYS_fsync, fd, __builtin_return_address(0));
}

PUBLIC int fdatasync(int fd)
{
	return sync_any(SYS_fdatasync, fd, __builtin_return_address(0));
}

/* The first half of what there is; returns how many pieces it takes. */
static int half(const struct iovec *iov, int n, struct iovec *ret)
{
	size_t len = 0;
	int i;

	for (i = 0; i < n; i++)
		len += iov[i].iov_len;
	len /= 2;
	for (i = 0; i < n && len > 0; i++) {
		ret[i] = iov[i];
		if (ret[i].iov_len > len)
			ret[i].iov_len = len;
		len -= ret[i].iov_len;
	}
	return i;
}

/* OFF -1: where the file is. */
static ssize_t write_any(int fd, const struct iovec *iov, int n, off_t off)
{
	struct iovec some[1024];
	ino_t ino = ours(fd);
	enum how how = NONE;
	ssize_t r;

	if (ino) {
		how = fate(WRITE, fd, NULL);
		if (how == SHORT && (n = half(iov, n, some)) > 0)
			iov = some;
		else if (how != NONE) {
			errno = how == ENOSPC_HOW ? ENOSPC : EIO;
			return -1;
		}
	}
	turn_begin();
	if (ino && off < 0)
		off = lseek(fd, 0, SEEK_CUR);
	if (ino && f.trace >= 0 && n <= TRACE_IOVS)
		note((struct op){ .kind = 'W',
			     .flag = f.fd[fd].lasts,
			     .ino = ino,
			     .off = (uint64_t)off,
			     .site = f.fd[fd].lasts
					     ? site_of(__builtin_return_address(
						       0))
					     : 0 },
			NULL, NULL, iov, n);
	else if (ino && f.trace >= 0)
		abort();
	if (!ino && off < 0)
		r = syscall(SYS_writev, fd, iov, n);
	else
		r = syscall(SYS_pwritev, fd, iov, n, off, 0);
	turn_end();
	return r;
}

PUBLIC ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	return write_any(fd, iov, n, off);
}
ssize_t pwritev64(int fd, const struct iovec *iov, int n, off_t off)
	ALIAS(pwritev);

PUBLIC ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
	struct iovec iov = { (void *)(uintptr_t)buf, len };

	return write_any(fd, &iov, 1, off);
}
ssize_t pwrite64(int fd, const void *buf, size_t len, off_t off) ALIAS(pwrite);

/* What follows the file's own place moves it on. */
static ssize_t written(int fd, bool mine, ssize_t n)
{
	if (mine && n > 0)
		lseek(fd, n, SEEK_CUR);
	return n;
}

PUBLIC ssize_t writev(int fd, const struct iovec *iov, int n)
{
	return written(fd, ours(fd) != 0, write_any(fd, iov, n, -1));
}

PUBLIC ssize_t write(int fd, const void *buf, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)buf, len };

	if (!ours(fd))
		return syscall(SYS_write, fd, buf, len);
	return written(fd, true, write_any(fd, &iov, 1, -1));
}

PUBLIC ssize_t pread(int fd, void *buf, size_t len, off_t off)
{
	enum how how = ours(fd) ? fate(READ, fd, NULL) : NONE;

	if (how == SHORT)
		len = len > 1 ? len / 2 : len;
	else if (how != NONE) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pread64, fd, buf, len, off);
}
ssize_t pread64(int fd, void *buf, size_t len, off_t off) ALIAS(pread);

PUBLIC ssize_t preadv(int fd, const struct iovec *iov, int n, off_t off)
{
	struct iovec some[1024];
	enum how how = ours(fd) ? fate(READ, fd, NULL) : NONE;

	if (how == SHORT && n > 0) {
		n = half(iov, n, some);
		iov = some;
	} else if (how != NONE) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_preadv, fd, iov, n, off, 0);
}
ssize_t preadv64(int fd, const struct iovec *iov, int n, off_t off)
	ALIAS(preadv);

PUBLIC ssize_t read(int fd, void *buf, size_t len)
{
	if (ours(fd) && fails(READ, fd, NULL))
		return -1;
	return syscall(SYS_read, fd, buf, len);
}

/* LMDB syncs for whoever called it. */
PUBLIC int mdb_env_sync(MDB_env *env, int force)
{
	static int (*real)(MDB_env *, int);
	int r;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "mdb_env_sync");
	lmdb_site = (uintptr_t)__builtin_return_address(0);
	r = real(env, force);
	lmdb_site = 0;
	return r;
}

PUBLIC int mdb_txn_commit(MDB_txn *txn)
{
	static int (*real)(MDB_txn *);
	int r;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "mdb_txn_commit");
	lmdb_site = (uintptr_t)__builtin_return_address(0);
	r = real(txn);
	lmdb_site = 0;
	return r;
}

/* The C library's own, by names that nobody else has. */
void *__libc_malloc(size_t len);
void *__libc_calloc(size_t n, size_t len);
void *__libc_realloc(void *p, size_t len);
void *__libc_memalign(size_t align, size_t len);

static bool none_left(void)
{
	if (fate(ALLOC, -1, NULL) == NONE)
		return false;
	errno = ENOMEM;
	return true;
}

PUBLIC void *malloc(size_t len)
{
	return none_left() ? NULL : __libc_malloc(len);
}

PUBLIC void *calloc(size_t n, size_t len)
{
	return none_left() ? NULL : __libc_calloc(n, len);
}

PUBLIC void *realloc(void *p, size_t len)
{
	return none_left() ? NULL : __libc_realloc(p, len);
}

PUBLIC int posix_memalign(void **ret, size_t align, size_t len)
{
	void *p = none_left() ? NULL : __libc_memalign(align, len);

	if (!p)
		return ENOMEM;
	*ret = p;
	return 0;
}

PUBLIC void *aligned_alloc(size_t align, size_t len)
{
	return none_left() ? NULL : __libc_memalign(align, len);
}

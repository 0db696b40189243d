/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/capability.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#include "src/log.h"

struct mounted {
	unsigned major, minor;
	bool is_hivefs;
};

/* Blanks and backslashes are octal in mountinfo; see proc(5). */
static void unescape(char *text)
{
	char *to = text;

	for (const char *p = text; *p; to++) {
		unsigned c;

		/* NOLINTNEXTLINE(cert-err34-c): three digits */
		if (*p == '\\' && sscanf(p + 1, "%3o", &c) == 1) {
			*to = (char)c;
			p += 4;
		} else {
			*to = *p++;
		}
	}
	*to = 0;
}

/* What is mounted on PATH, topmost; false if nothing is. */
static bool find_mount(const char *path, struct mounted *ret)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	bool found = false;
	char *line = NULL;
	size_t cap = 0;

	while (f && getline(&line, &cap, f) > 0) {
		const char *type = strstr(line, " - ");
		char *at = NULL;
		struct mounted m;

		/* NOLINTNEXTLINE(cert-err34-c): the kernel's numbers */
		if (type && sscanf(line, "%*u %*u %u:%u %*s %ms", &m.major,
				    &m.minor, &at) == 3) {
			unescape(at);
			m.is_hivefs = strncmp(type, " - fuse.hivefs ", 15) == 0;
			if (strcmp(at, path) == 0) {
				*ret = m;
				found = true;
			}
		}
		free(at);
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

/* Absolute, without links; also where the file system at PATH itself is dead.
 */
static char *canonical(const char *path)
{
	scoped(freep) char *parent_copy = NULL;
	scoped(freep) char *base_copy = NULL;
	scoped(freep) char *parent = NULL;
	char *whole = realpath(path, NULL);

	if (whole || errno != ENOTCONN)
		return whole;
	parent_copy = strdup(path);
	base_copy = strdup(path);
	if (!parent_copy || !base_copy)
		return NULL;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): glibc's is safe */
	parent = realpath(dirname(parent_copy), NULL);
	if (!parent ||
		asprintf(&whole, "%s/%s", strcmp(parent, "/") ? parent : "",
			basename(base_copy)) < 0)
		return NULL;
	return whole;
}

/* As who it may take: mount(2)'s rights, or those of fusermount3. */
static int detach(char *path)
{
	char *const argv[] = { (char[]){ "fusermount3" }, (char[]){ "-u" },
		(char[]){ "-z" }, (char[]){ "-q" }, (char[]){ "--" }, path,
		NULL };
	pid_t pid;
	int status;

	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return 0;
	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) != 0)
		return -1;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return status == 0 ? 0 : -1;
}

/* A mount without its daemon answers nothing but ENOTCONN, for ever. */
static int clean_up(const char *path)
{
	scoped(freep) char *at = canonical(path);
	struct mounted m;

	if (!at || !find_mount(at, &m) || !m.is_hivefs || detach(at) < 0) {
		log_error("mountpoint %s: the daemon behind what is mounted "
			  "there has died; unmount it with: fusermount3 -u %s",
			path, path);
		return -EBUSY;
	}
	log_info("mountpoint %s: unmounted what a hivefs that died left there",
		path);
	return 0;
}

static bool same_file(const char *path, const struct stat *st)
{
	struct stat own;

	return stat(path, &own) == 0 && own.st_dev == st->st_dev &&
	       own.st_ino == st->st_ino;
}

/* Is PATH, absolute and without links, or a directory above it, the file ST? */
static bool is_within(const char *path, const struct stat *st)
{
	scoped(freep) char *up = strdup(path);

	while (up && strcmp(up, "/") != 0) {
		if (same_file(up, st))
			return true;
		/* NOLINTNEXTLINE(concurrency-mt-unsafe): glibc's is safe */
		dirname(up); /* in place */
	}
	return same_file("/", st);
}

static int check_overlap(
	const char *path, const struct stat *st, const char *repo)
{
	scoped(freep) char *real = repo ? realpath(repo, NULL) : NULL;
	struct stat repo_st;
	const char *where = NULL;

	if (!real || stat(real, &repo_st) < 0)
		return 0; /* whoever opens it says what is wrong */
	if (same_file(path, &repo_st))
		where = "the repository itself";
	else if (is_within(path, &repo_st))
		where = "inside the repository";
	else if (is_within(real, st))
		where = "above the repository";
	if (!where)
		return 0;
	log_error("mountpoint %s: is %s, which a mount there would hide from "
		  "itself; choose another directory",
		path, where);
	return -EINVAL;
}

int mountpoint_check(const char *path, const char *repo, char **ret)
{
	scoped(freep) char *at = NULL;
	struct mounted m;
	struct statfs sf;
	struct stat st;
	int r;

	/* asks the daemon for sure: attributes may still be remembered */
	if (statfs(path, &sf) < 0 && errno == ENOTCONN) {
		r = clean_up(path);
		if (r < 0)
			return r;
	}
	if (stat(path, &st) < 0) {
		log_error("mountpoint %s: %m", path);
		return -EINVAL;
	}
	if (!S_ISDIR(st.st_mode)) {
		log_error("mountpoint %s: is not a directory", path);
		return -EINVAL;
	}
	/* said here, since fusermount3 says no more than that it failed */
	if (prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN) == 0)
		return fail(EACCES,
			"mountpoint %s: no program here may mount: give the "
			"container the capability SYS_ADMIN",
			path);
	at = canonical(path);
	if (!at)
		return fail(errno, "mountpoint %s: %m", path);
	if (find_mount(at, &m) && m.is_hivefs)
		return fail(EBUSY,
			"mountpoint %s: a repository is mounted "
			"there already",
			path);
	r = check_overlap(at, &st, repo);
	if (r == 0)
		*ret = take(at);
	return r;
}

void mountpoint_readahead(const char *path, unsigned bytes)
{
	struct mounted m;
	char setting[64];
	int fd;

	if (!find_mount(path, &m))
		return;
	snprintf(setting, sizeof(setting), "/sys/class/bdi/%u:%u/read_ahead_kb",
		m.major, m.minor);
	fd = open(setting, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || dprintf(fd, "%u", bytes >> 10) < 0)
		log_debug("fs", "%s: %m", setting);
	if (fd >= 0)
		close(fd);
}

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "tools/aftercare.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/exit.h"
#include "src/log.h"
#include "tools/child.h"

#define PAUSE_MS 100
#define UNMOUNT_MS 10000 /* a guest that was killed still has files open */
#define DISCARD_MS 60000 /* a daemon that ends may have much to sync */

static void pause_ms(unsigned ms)
{
	const struct timespec t = { .tv_nsec = ms * 1000000L };

	nanosleep(&t, NULL);
}

static bool is_mounted(const char *dir)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	char buf[16384];
	struct mntent m;
	bool found = false;

	while (f && !found && getmntent_r(f, &m, buf, sizeof(buf)))
		found = strcmp(m.mnt_dir, dir) == 0;
	if (f)
		endmntent(f);
	return found;
}

static bool unmount(const char *dir)
{
	const char *const gently[] = { "fusermount3", "-q", "-u", dir, NULL };
	const char *const lazily[] = { "fusermount3", "-u", "-z", dir, NULL };

	for (unsigned ms = 0; is_mounted(dir); ms += PAUSE_MS) {
		if (child_run(gently, true) == EXIT_OK)
			continue;
		if (ms >= UNMOUNT_MS) {
			(void)child_run(lazily, false);
			break;
		}
		pause_ms(PAUSE_MS);
	}
	return rmdir(dir) == 0 || errno == ENOENT;
}

/* Refused, too, while a mount has it open; then it is tried again. */
static bool discard(const struct aftercare *a)
{
	const char *const look[] = { CHILD_SELF, "discard", "--dry-run",
		a->clone, NULL };
	const char *const drop[] = { CHILD_SELF, "discard", "--quiet", a->clone,
		NULL };

	for (unsigned ms = 0; ms < DISCARD_MS; ms += PAUSE_MS) {
		int code = child_run(look, true);

		/* never made */
		if (code == EXIT_ERROR)
			return true;
		if (code != EXIT_BUSY)
			break;
		pause_ms(PAUSE_MS);
	}
	return child_run(drop, false) == EXIT_OK;
}

static _Noreturn void care(const struct aftercare *a, int pipe)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	bool ok = true;
	char none;

	setsid();
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGTERM, &ignore, NULL);
	sigaction(SIGHUP, &ignore, NULL);
	while (read(pipe, &none, 1) < 0 && errno == EINTR)
		;
	if (a->mount)
		ok = unmount(a->mount);
	if (a->clone)
		ok = discard(a) && ok;
	_exit(ok ? EXIT_OK : EXIT_ERROR);
}

int aftercare_begin(struct aftercare *a)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return fail(errno, "pipe: %m");
	a->pid = fork();
	if (a->pid == 0) {
		close(fds[1]);
		care(a, fds[0]);
	}
	close(fds[0]);
	a->pipe = fds[1];
	if (a->pid < 0) {
		close(a->pipe);
		a->pid = 0;
		return fail(errno, "fork: %m");
	}
	return 0;
}

int aftercare_end(struct aftercare *a)
{
	if (a->pid == 0)
		return 0;
	close(a->pipe);
	if (child_wait(a->pid) == EXIT_OK)
		return 0;
	return fail(EIO, "%s%s: could not be removed",
		a->clone ? "clone " : "mount ", a->clone ? a->clone : a->mount);
}

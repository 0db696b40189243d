/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "tools/host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "src/cleanup.h"
#include "src/log.h"

/* Is PROGRAM in a directory of $PATH? */
static bool is_here(const char *program)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nothing sets it later */
	const char *at = getenv("PATH");
	bool found = false;

	if (!at)
		at = "/usr/local/bin:/usr/bin:/bin";
	while (*at && !found) {
		size_t len = strcspn(at, ":");
		scoped(freep) char *path = NULL;

		if (asprintf(&path, "%.*s/%s", (int)len, at, program) >= 0)
			found = access(path, X_OK) == 0;
		at += len + (at[len] == ':');
	}
	return found;
}

static void check_device(const struct probe *p)
{
	scoped(closep) int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0 && prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN) == 0)
		probe_say(p, "fuse", PROBE_FAILED,
			"no program here may mount: give the container the "
			"capability SYS_ADMIN");
	else if (fd >= 0 && geteuid() != 0 &&
		 prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		probe_say(p, "fuse", PROBE_FAILED,
			"fusermount3 gets no rights to mount here: run hivefs "
			"without no_new_privs (NoNewPrivileges= of systemd)");
	else if (fd >= 0)
		probe_say(p, "fuse", PROBE_OK, "/dev/fuse can be used");
	else if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		probe_say(p, "fuse", PROBE_FAILED,
			"there is no /dev/fuse, so nothing can be mounted: "
			"modprobe fuse, or give the container that device");
	else
		probe_say(p, "fuse", PROBE_FAILED,
			"/dev/fuse: %m, so this user can mount nothing: chmod "
			"666 /dev/fuse is usual");
}

static void check_helper(const struct probe *p)
{
	if (is_here("fusermount3") && access("/etc/mtab", F_OK) != 0)
		probe_say(p, "fusermount3",
			geteuid() == 0 ? PROBE_WARNING : PROBE_FAILED,
			"does nothing for users other than root where there is "
			"no /etc/mtab: ln -s /proc/self/mounts /etc/mtab");
	else if (is_here("fusermount3"))
		probe_say(p, "fusermount3", PROBE_OK, "is there");
	else if (geteuid() == 0)
		probe_say(p, "fusermount3", PROBE_WARNING,
			"is not there: root can mount without it, others "
			"cannot; install fuse3");
	else
		probe_say(p, "fusermount3", PROBE_FAILED,
			"is not there, and without it only root can mount: "
			"install fuse3");
}

/* For -o allow_other of a user that is not root. */
static bool may_allow_other(void)
{
	FILE *f = fopen("/etc/fuse.conf", "re");
	char line[256];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, " \t\r\n")] = 0;
		found = strcmp(line, "user_allow_other") == 0;
	}
	if (f)
		fclose(f);
	return found;
}

static void check_allow_other(const struct probe *p)
{
	if (geteuid() == 0)
		probe_say(p, "allow_other", PROBE_OK,
			"root may let other users into a mount");
	else if (may_allow_other())
		probe_say(p, "allow_other", PROBE_OK,
			"this user may let others into a mount");
	else
		probe_say(p, "allow_other", PROBE_WARNING,
			"guests that run as another user will not see this "
			"user's mounts: add the line user_allow_other to "
			"/etc/fuse.conf");
}

static void check_program(
	const struct probe *p, const char *program, const char *what)
{
	if (is_here(program))
		probe_say(p, program, PROBE_OK, "is there");
	else
		probe_say(p, program, PROBE_WARNING,
			"is not there: install it for %s", what);
}

static void check_kvm(const struct probe *p)
{
	if (access("/dev/kvm", R_OK | W_OK) == 0)
		probe_say(p, "kvm", PROBE_OK, "/dev/kvm can be used");
	else
		probe_say(p, "kvm", PROBE_WARNING,
			"/dev/kvm: %m: hivefs boot emulates, which is slow; "
			"turn virtualization on, or add the user to the group "
			"kvm");
}

void host_probe(const struct probe *p)
{
	check_device(p);
	check_helper(p);
	check_allow_other(p);
	check_program(p, "qemu-nbd", "backups of image files that are not raw");
	check_program(p, "qemu-system-x86_64", "hivefs boot");
	check_kvm(p);
}

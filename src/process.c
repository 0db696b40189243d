/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "src/process.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOOT_LEN 36 /* of the kernel's random id */

static void read_line(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");

	buf[0] = 0;
	if (!f)
		return;
	if (!fgets(buf, (int)size, f))
		buf[0] = 0;
	buf[strcspn(buf, "\n")] = 0;
	fclose(f);
}

/*
 * When a process began, in ticks since the boot, 0 if that cannot be read; PATH
 * is of its `stat`. *ret_ended: it has, and nobody was told yet (a zombie).
 */
static uint64_t read_start(const char *path, bool *ret_ended)
{
	char line[1024], *p;

	read_line(path, line, sizeof(line));
	/* the name, in brackets, may hold anything */
	p = strrchr(line, ')');
	if (!p || p[1] != ' ')
		return 0;
	p += 2;
	*ret_ended = *p == 'Z' || *p == 'X';
	for (unsigned field = 3; p && field < 22; field++) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	return p ? strtoull(p, NULL, 10) : 0;
}

/* What tells processes of this boot and namespace apart from all others. */
static bool here(char buf[64])
{
	char boot[40];
	struct stat st;

	read_line("/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
	if (stat("/proc/self/ns/pid", &st) != 0)
		st.st_ino = 0;
	snprintf(buf, 64, "%.*s %ju", BOOT_LEN, boot, (uintmax_t)st.st_ino);
	return strlen(boot) == BOOT_LEN && st.st_ino != 0;
}

void process_text(char buf[PROCESS_TEXT])
{
	char place[64];
	bool ended;

	here(place);
	/* by that name it is us also where /proc shows another namespace */
	snprintf(buf, PROCESS_TEXT, "%s %d %" PRIu64, place, getpid(),
		read_start("/proc/self/stat", &ended));
}

/* Does /proc show our own namespace? One that was not mounted anew does not. */
static bool proc_is_ours(void)
{
	char text[32];
	ssize_t n = readlink("/proc/self", text, sizeof(text) - 1);

	if (n <= 0)
		return false;
	text[n] = 0;
	return strtoll(text, NULL, 10) == getpid();
}

/*
 * Of a process of this boot and namespace. Not being seen in /proc is no end:
 * it may be mounted so that it hides those of other users.
 */
static enum process_state state_of(pid_t pid, uint64_t start)
{
	char path[64];
	bool ended = false;
	uint64_t now;

	if (kill(pid, 0) != 0 && errno == ESRCH)
		return PROCESS_DEAD;
	if (!proc_is_ours())
		return PROCESS_UNKNOWN;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	now = read_start(path, &ended);
	if (now == 0 || start == 0)
		return PROCESS_UNKNOWN;
	return now == start && !ended ? PROCESS_ALIVE : PROCESS_DEAD;
}

enum process_state process_state(const char *text)
{
	char place[64];
	bool known = here(place);
	size_t n = strlen(place);
	int64_t pid;
	char *end;

	if (!known)
		return PROCESS_UNKNOWN;
	if (strncmp(text, place, BOOT_LEN) != 0)
		return PROCESS_OTHER_BOOT;
	if (strncmp(text, place, n) != 0 || text[n] != ' ')
		return PROCESS_UNKNOWN;
	pid = strtoll(text + n + 1, &end, 10);
	if (pid <= 0 || pid > INT_MAX || *end != ' ')
		return PROCESS_UNKNOWN;
	return state_of((pid_t)pid, strtoull(end + 1, NULL, 10));
}

void process_host(char buf[PROCESS_HOST])
{
	if (gethostname(buf, PROCESS_HOST - 1) != 0)
		buf[0] = 0;
	buf[PROCESS_HOST - 1] = 0;
}

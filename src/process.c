/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "src/process.h"

#include <inttypes.h>
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

/* When the process began, in ticks since the boot; 0: there is none. */
static uint64_t process_start(int64_t pid)
{
	char path[64], line[1024];
	uint64_t start = 0;
	char *p;

	snprintf(path, sizeof(path), "/proc/%" PRId64 "/stat", pid);
	read_line(path, line, sizeof(line));
	/* the name, in brackets, may hold anything; a zombie has ended */
	p = strrchr(line, ')');
	if (!p || p[1] != ' ' || p[2] == 'Z' || p[2] == 'X')
		return 0;
	p += 2;
	for (unsigned field = 3; p && field < 22; field++) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	if (p)
		start = strtoull(p, NULL, 10);
	return start;
}

/* What tells processes of this boot and namespace apart from all others. */
static void here(char buf[64])
{
	char boot[40];
	struct stat st = { 0 };

	read_line("/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
	if (stat("/proc/self/ns/pid", &st) != 0)
		st.st_ino = 0;
	snprintf(buf, 64, "%.*s %ju", BOOT_LEN, boot, (uintmax_t)st.st_ino);
}

void process_text(char buf[PROCESS_TEXT])
{
	char place[64];

	here(place);
	snprintf(buf, PROCESS_TEXT, "%s %d %" PRIu64, place, getpid(),
		process_start(getpid()));
}

enum process_state process_state(const char *text)
{
	char place[64];
	uint64_t start;
	size_t n;
	int64_t pid;
	char *end;

	here(place);
	n = strlen(place);
	if (strncmp(text, place, BOOT_LEN) != 0)
		return PROCESS_OTHER_BOOT;
	if (strncmp(text, place, n) != 0 || text[n] != ' ')
		return PROCESS_UNKNOWN;
	pid = strtoll(text + n + 1, &end, 10);
	start = process_start(pid);
	return start != 0 && start == strtoull(end, NULL, 10) ? PROCESS_ALIVE
							      : PROCESS_DEAD;
}

void process_host(char buf[PROCESS_HOST])
{
	if (gethostname(buf, PROCESS_HOST - 1) != 0)
		buf[0] = 0;
	buf[PROCESS_HOST - 1] = 0;
}

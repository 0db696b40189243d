/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source_help - a folder of images that all hold one disk, for the tests of
 * sources. Its bytes are kept as the oracle.
 */
#ifndef HIVEFS_TEST_SOURCE_HELP_H
#define HIVEFS_TEST_SOURCE_HELP_H

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>
#undef fail /* log.h's is another */

#include "src/bytes.h"
#include "src/log.h"
#include "src/source.h"

/* blocks of 4 KiB, and at the end not a whole cluster, grain or VHD block */
#define DISK_SIZE (24ULL * 1024 * 1024 + 12 * 1024)

static char folder[4096];
static char said[8192]; /* the last error */
static unsigned char *oracle;

static void hear(enum log_level level, const char *text)
{
	if (level == LOG_LEVEL_ERROR)
		snprintf(said, sizeof(said), "%s", text);
}

/* Runs a command of the shell in the folder; 0 if it succeeded. */
__attribute__((format(printf, 1, 2))) static inline int run(
	const char *fmt, ...)
{
	char command[8192];
	va_list ap;
	int n = snprintf(command, sizeof(command), "cd '%s' && ", folder);

	va_start(ap, fmt);
	vsnprintf(command + n, sizeof(command) - (size_t)n, fmt, ap);
	va_end(ap);
	return system(command);
}

static inline char *in_folder(const char *name)
{
	static char paths[4][8192];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static inline void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* Runs with data of 4 KiB up to 1 MiB, and as much of holes. */
static inline void fill_oracle(void)
{
	uint64_t seed = 1;
	uint64_t off = 0;

	oracle = calloc(1, DISK_SIZE);
	assert_non_null(oracle);
	for (unsigned run = 0; off < DISK_SIZE; run++) {
		uint64_t len;

		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		len = MIN_OF(4096 * (1 + (seed >> 33) % 256), DISK_SIZE - off);
		for (uint64_t i = 0; run % 2 == 0 && i < len; i += 8) {
			seed = seed * 6364136223846793005ULL + 1;
			put_le64(oracle + off + i, seed | 1);
		}
		off += len;
	}
	/* the last bytes count */
	put_le64(oracle + DISK_SIZE - 8, ~0ULL);
}

static inline void write_raw(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, DISK_SIZE), 0);
	for (uint64_t off = 0; off < DISK_SIZE; off += 4096) {
		if (!is_zero(oracle + off, 4096))
			assert_int_equal(
				pwrite(fd, oracle + off, 4096, (off_t)off),
				4096);
	}
	close(fd);
}

static inline int make_folder(void **state)
{
	const char *base = getenv("TMPDIR");

	(void)state;
	snprintf(folder, sizeof(folder), "%s/test-source-XXXXXX",
		base && *base ? base : "/tmp");
	assert_non_null(mkdtemp(folder));
	setenv("TMPDIR", folder, 1);
	log_set_sink(hear);
	fill_oracle();
	write_raw(in_folder("disk.img"));
	return 0;
}

/* What a row started as server.pid is gone when this returns. */
static inline void stop_server(void)
{
	assert_int_equal(run("[ ! -e server.pid ] || { pid=$(cat server.pid); "
			     "kill $pid; while kill -0 $pid 2>/dev/null && "
			     "! grep -q '^[^)]*) Z' /proc/$pid/stat; "
			     "do sleep 0.01; done; rm -f server.*; }"),
		0);
}

static inline int remove_folder(void **state)
{
	(void)state;
	stop_server();
	log_set_sink(NULL);
	free(oracle);
	return run("cd / && rm -rf '%s'", folder);
}

static inline int open_source(const char *path, const char *format, bool in_use,
	bool outside, struct blk **ret)
{
	const struct source_options options = {
		.format = format,
		.in_use = in_use,
		.outside_backing = outside,
	};
	bool used;

	said[0] = 0;
	return source_open(path, &options, ret, &used);
}

/* Not so for one that nobody has waited for. */
static inline bool is_running(pid_t pid)
{
	char path[64], state = 'Z';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = 'Z';
	fclose(f);
	return state != 'Z';
}

/* The qemu-nbd whose parent is PARENT; 0 if there is none. */
static inline pid_t find_qemu_nbd(pid_t parent)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	pid_t found = 0;

	assert_non_null(proc);
	while (!found && (e = readdir(proc)) != NULL) {
		char path[300], comm[64], state;
		int pid, ppid;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
		f = e->d_name[0] >= '1' && e->d_name[0] <= '9'
			    ? fopen(path, "re")
			    : NULL;
		if (!f)
			continue;
		if (fscanf(f, "%d (%63[^)]) %c %d", &pid, comm, &state,
			    &ppid) == 4 &&
			ppid == parent && strcmp(comm, "qemu-nbd") == 0)
			found = pid;
		fclose(f);
	}
	closedir(proc);
	return found;
}

#endif

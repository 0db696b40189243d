/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure - what a command took: seconds, seconds of all processors, and the
 * most memory it had at a time.
 *
 *   measure FILE CMD [ARG]...    writes "seconds cpu_seconds rss_kib" to FILE
 *
 * Exits as the command did.
 */
#include <err.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

int main(int argc, char **argv)
{
	struct rusage used;
	double begin = now(), took;
	int status;
	pid_t pid;
	FILE *f;

	if (argc < 3)
		errx(2, "usage: measure FILE CMD [ARG]...");
	if (posix_spawnp(&pid, argv[2], NULL, NULL, argv + 2, environ) != 0)
		errx(1, "%s: cannot be started", argv[2]);
	if (waitpid(pid, &status, 0) < 0)
		err(1, "%s", argv[2]);
	took = now() - begin;
	if (getrusage(RUSAGE_CHILDREN, &used) < 0)
		err(1, "getrusage");
	f = fopen(argv[1], "we");
	if (!f ||
		fprintf(f, "%.6f %.3f %ld\n", took,
			seconds(&used.ru_utime) + seconds(&used.ru_stime),
			used.ru_maxrss) < 0 ||
		fclose(f) != 0)
		err(1, "%s", argv[1]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

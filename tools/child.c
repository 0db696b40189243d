/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "tools/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "src/exit.h"
#include "src/log.h"

#define EXIT_NOT_STARTED 127

static _Noreturn void become(const char *const *argv, int in, int out, int err)
{
	/* execv() promises to change nothing, in words only */
	char *const *args = (char *const *)(uintptr_t)argv;

	signal(SIGPIPE, SIG_DFL);
	if (in >= 0)
		dup2(in, STDIN_FILENO);
	if (out >= 0)
		dup2(out, STDOUT_FILENO);
	if (err >= 0)
		dup2(err, STDERR_FILENO);
	if (strcmp(argv[0], CHILD_SELF) == 0)
		execv("/proc/self/exe", args);
	else
		execvp(argv[0], args);
	_exit(EXIT_NOT_STARTED);
}

int child_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_ERROR;
	return WIFEXITED(status) ? WEXITSTATUS(status)
				 : EXIT_SIGNAL + WTERMSIG(status);
}

int child_run(const char *const *argv, bool quiet)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t pid = fork();

	if (pid == 0)
		become(argv, null, null, quiet ? null : -1);
	closep(&null);
	return pid < 0 ? EXIT_NOT_STARTED : child_wait(pid);
}

int child_start(const char *const *argv, int out, int err, pid_t *ret)
{
	scoped(closep) int null = -1;
	pid_t us = getpid(), pid;

	if (out >= 0)
		null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid = fork();
	if (pid < 0)
		return fail(errno, "%s: fork: %m", argv[0]);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != us)
			_exit(EXIT_NOT_STARTED);
		become(argv, null, out, err);
	}
	*ret = pid;
	return 0;
}

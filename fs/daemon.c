/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "src/exit.h"
#include "src/log.h"

static int wait_for(pid_t child, int pipe)
{
	char ready;
	ssize_t n;
	int status;

	do
		n = read(pipe, &ready, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return EXIT_OK;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_ERROR;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	log_error("the daemon ended with signal %d (%s)", WTERMSIG(status),
		sigabbrev_np(WTERMSIG(status)));
	return EXIT_SIGNAL + WTERMSIG(status);
}

int daemon_fork(struct daemon *d, int *ret_code)
{
	int fds[2];
	pid_t child;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return fail(errno, "daemon: pipe: %m");
	child = fork();
	if (child < 0) {
		int err = errno;

		close(fds[0]);
		close(fds[1]);
		return fail(err, "daemon: fork: %m");
	}
	if (child == 0) {
		close(fds[0]);
		d->report = fds[1];
		return 0;
	}
	close(fds[1]);
	*ret_code = wait_for(child, fds[0]);
	close(fds[0]);
	return 1;
}

static void to_syslog(enum log_level level, const char *text)
{
	static const int priority[] = {
		[LOG_LEVEL_ERROR] = LOG_ERR,
		[LOG_LEVEL_WARN] = LOG_WARNING,
		[LOG_LEVEL_INFO] = LOG_INFO,
		[LOG_LEVEL_DEBUG] = LOG_DEBUG,
	};

	syslog(priority[level], "%s", text);
}

bool daemon_ready(struct daemon *d)
{
	int null;
	bool told;

	if (d->report < 0)
		return true;
	/*
	 * First all that the terminal or a script that waits for it would
	 * notice; then the news.
	 */
	setsid();
	openlog("hivefs", LOG_PID, LOG_DAEMON);
	log_set_sink(to_syslog);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0)
		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
	if (null >= 3)
		close(null);
	told = write(d->report, "r", 1) == 1;
	close(d->report);
	d->report = -1;
	return told;
}

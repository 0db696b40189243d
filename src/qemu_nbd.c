/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "src/qemu_nbd.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "src/bytes.h"
#include "src/log.h"

/* what a shell says of a command that it did not find, and no qemu tool does */
#define EXIT_NOT_STARTED 127

struct qemu_nbd {
	char *name;
	char *image_opts;
	char dir[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	char socket[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	pthread_t keeper;
	sem_t forked;
	pid_t pid; /* written before forked; -1: errno in fork_error */
	int fork_error;
	int null_fd;
	int stderr_fd[2];

	/* written by the keeper, read by others once ended is true */
	char said[8192];
	size_t said_len;
	int status; /* of waitid: si_status */
	atomic_bool ended;
};

/* Only what is safe between fork and exec of a process with threads. */
static _Noreturn void become_qemu_nbd(const struct qemu_nbd *q, pid_t parent)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_NOT_STARTED);
	/* Ctrl-C is for us, who close it when the last read is done */
	setsid();
	sigemptyset(&none);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): a child has one thread */
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(q->null_fd, STDIN_FILENO);
	dup2(q->null_fd, STDOUT_FILENO);
	dup2(q->stderr_fd[1], STDERR_FILENO);
	close_range(STDERR_FILENO + 1, ~0U, 0);
	execlp("qemu-nbd", "qemu-nbd", "-r", "-t", "--shared=0", "-k",
		q->socket, "--image-opts", q->image_opts, (char *)NULL);
	_exit(EXIT_NOT_STARTED);
}

/* To its end, so that a talkative child never waits for us to listen. */
static void listen_to(struct qemu_nbd *q)
{
	char buf[1024];
	ssize_t n;

	while ((n = read(q->stderr_fd[0], buf, sizeof(buf))) != 0) {
		size_t room = sizeof(q->said) - 1 - q->said_len;
		size_t keep;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		keep = MIN_OF(room, (size_t)n);
		memcpy(q->said + q->said_len, buf, keep);
		q->said_len += keep;
	}
}

static void *keep(void *arg)
{
	struct qemu_nbd *q = arg;
	pid_t parent = getpid();
	siginfo_t info = { 0 };
	sigset_t all;

	/* the program's signals are for its own threads */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	q->pid = fork();
	if (q->pid == 0)
		become_qemu_nbd(q, parent);
	q->fork_error = q->pid < 0 ? errno : 0;
	close(take_fd(q->stderr_fd[1]));
	sem_post(&q->forked);
	if (q->pid < 0)
		return NULL;
	listen_to(q);
	/* not reaped yet: its number stays its own until qemu_nbd_stop() */
	while (waitid(P_PID, (id_t)q->pid, &info, WEXITED | WNOWAIT) != 0 &&
		errno == EINTR)
		;
	q->status = info.si_status;
	atomic_store(&q->ended, true);
	return NULL;
}

static int make_dir(struct qemu_nbd *q)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nothing sets it later */
	const char *base = getenv("TMPDIR");
	size_t room = sizeof(q->dir) - sizeof("/hivefs-XXXXXX/nbd");

	/* a socket's path has room for little more than a short one */
	if (!base || !*base || strlen(base) > room)
		base = "/tmp";
	snprintf(q->dir, sizeof(q->dir), "%s/hivefs-XXXXXX", base);
	if (!mkdtemp(q->dir)) {
		int err = errno;

		q->dir[0] = 0;
		return fail(err, "%s: a directory in %s: %m", q->name, base);
	}
	snprintf(q->socket, sizeof(q->socket), "%.*s/nbd",
		(int)(sizeof(q->socket) - sizeof("/nbd")), q->dir);
	return 0;
}

static int make_pipes(struct qemu_nbd *q)
{
	q->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (q->null_fd < 0)
		return fail(errno, "/dev/null: %m");
	if (pipe2(q->stderr_fd, O_CLOEXEC) != 0)
		return fail(errno, "%s: pipe: %m", q->name);
	return 0;
}

int qemu_nbd_start(
	const char *image_opts, const char *name, struct qemu_nbd **ret)
{
	scoped(qemu_nbd_stopp) struct qemu_nbd *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return fail(ENOMEM, "%s: %m", name);
	q->pid = -1;
	q->null_fd = q->stderr_fd[0] = q->stderr_fd[1] = -1;
	sem_init(&q->forked, 0, 0);
	q->name = strdup(name);
	q->image_opts = strdup(image_opts);
	if (!q->name || !q->image_opts)
		return fail(ENOMEM, "%s: %m", name);
	r = make_dir(q);
	if (r == 0)
		r = make_pipes(q);
	if (r < 0)
		return r;
	r = pthread_create(&q->keeper, NULL, keep, q);
	if (r != 0)
		return fail(r, "%s: thread: %m", name);
	while (sem_wait(&q->forked) != 0)
		;
	if (q->pid < 0) {
		pthread_join(q->keeper, NULL);
		return fail(q->fork_error, "%s: fork: %m", name);
	}
	log_debug("nbd", "%s: qemu-nbd %d: %s", name, (int)q->pid, image_opts);
	*ret = take(q);
	return 0;
}

const char *qemu_nbd_socket(const struct qemu_nbd *q)
{
	return q->socket;
}

void qemu_nbd_hide(struct qemu_nbd *q)
{
	if (!q->dir[0])
		return;
	unlink(q->socket);
	rmdir(q->dir);
	q->dir[0] = 0;
}

bool qemu_nbd_ended(const struct qemu_nbd *q)
{
	return atomic_load(&q->ended);
}

/*
 * "qemu-nbd: Failed to blk_new_open 'OPTIONS': WHY" is what it says last but
 * for hints; of this, WHY is for people.
 */
static void why(const struct qemu_nbd *q, char *buf, size_t size)
{
	static const char self[] = "qemu-nbd: ";
	static const char opening[] = "Failed to blk_new_open '";
	const char *text = q->said;
	const char *at = q->said;
	size_t n = strlen(q->image_opts);

	while ((at = strstr(at, self)) != NULL) {
		if (at == q->said || at[-1] == '\n')
			text = at + strlen(self);
		at += strlen(self);
	}
	if (strncmp(text, opening, strlen(opening)) == 0 &&
		strncmp(text + strlen(opening), q->image_opts, n) == 0)
		text += MIN_OF(
			strlen(opening) + n + strlen("': "), strlen(text));
	snprintf(buf, size, "%.*s", (int)strcspn(text, "\n"), text);
}

int qemu_nbd_failed(const struct qemu_nbd *q)
{
	char text[1024];

	if (q->status == EXIT_NOT_STARTED)
		return fail(EIO,
			"%s: qemu-nbd, which reads this format, does "
			"not start: is qemu-utils installed?",
			q->name);
	why(q, text, sizeof(text));
	/* the chain below an image; its own locks are looked at before */
	if (strstr(text, "Failed to get"))
		return fail(EBUSY, "%s: in use: %s", q->name, text);
	return fail(EIO, "%s: cannot be opened: qemu-nbd: %s", q->name, text);
}

void qemu_nbd_stop(struct qemu_nbd *q)
{
	if (q->pid > 0) {
		kill(q->pid, SIGKILL);
		pthread_join(q->keeper, NULL);
		while (waitpid(q->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	qemu_nbd_hide(q);
	closep(&q->null_fd);
	closep(&q->stderr_fd[0]);
	closep(&q->stderr_fd[1]);
	sem_destroy(&q->forked);
	free(q->name);
	free(q->image_opts);
	free(q);
}

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "tools/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>

#include "src/bytes.h"
#include "src/exit.h"
#include "src/log.h"
#include "src/monotonic.h"
#include "tools/cancel.h"
#include "tools/child.h"

#define EXIT_NOT_STARTED 127
#define LINE_MS 300 /* what a line goes on with comes by then */

static int ended_badly(const char *program, int code)
{
	if (code == EXIT_NOT_STARTED)
		return fail(
			EIO, "%s: does not start: is it installed?", program);
	return fail(EIO, "%s: ended with exit code %d", program, code);
}

/* Until it has ended, or is told to, as we were. */
static void wait_or_end(pid_t pid)
{
	scoped(closep) int fd = pidfd_open(pid, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (fd >= 0 && !cancelled && poll(&p, 1, 1000) <= 0)
		;
	if (cancelled)
		kill(pid, SIGTERM);
}

int guest_run(const char *const *command)
{
	pid_t pid;
	int code, r = child_start(command, -1, -1, &pid);

	if (r < 0)
		return r;
	wait_or_end(pid);
	code = child_wait(pid);
	if (cancelled)
		return -ECANCELED;
	return code == EXIT_OK ? 0 : ended_badly(command[0], code);
}

/* What a console says, as lines; long ones as several. */
struct console {
	char line[4096];
	size_t len;
	bool ended; /* the line that is in RET; another one follows */
	enum { PLAIN, ESCAPED, SEQUENCE } state;
	const char *wanted;
	struct guest_line *ret;
};

/* Boot loaders move cursors; people who read a log do not want to see it. */
static bool is_text(struct console *c, char ch)
{
	switch (c->state) {
	case ESCAPED:
		c->state = ch == '[' ? SEQUENCE : PLAIN;
		return false;
	case SEQUENCE:
		if (ch >= '@')
			c->state = PLAIN;
		return false;
	case PLAIN:
		break;
	}
	if (ch == 27)
		c->state = ESCAPED;
	return (unsigned char)ch >= ' ';
}

/* Also of a line that has not ended: a login prompt does not. */
static void look(struct console *c)
{
	c->line[c->len] = 0;
	if (c->len && c->ended)
		memcpy(c->ret->before, c->ret->text, sizeof(c->ret->text));
	if (c->len)
		c->ended = false;
	if (c->len)
		snprintf(c->ret->text, sizeof(c->ret->text), "%.*s",
			(int)sizeof(c->ret->text) - 1, c->line);
	if (strstr(c->line, c->wanted))
		c->ret->up = true;
}

/* True if the line that was waited for has ended. */
static bool feed(struct console *c, const char *buf, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (buf[i] == '\n' || c->len + 1 == sizeof(c->line)) {
			look(c);
			if (c->ret->up)
				return true;
			c->ended = c->ended || c->len;
			c->len = 0;
		}
		if (is_text(c, buf[i]))
			c->line[c->len++] = buf[i];
	}
	look(c);
	return false;
}

/* How long there may be nothing before we look again, or have seen enough. */
static int patience(const struct console *c, double until)
{
	double left = until - monotonic_seconds();

	return c->ret->up ? LINE_MS : left > 0 ? (int)(left * 1000) + 1 : 0;
}

static int watch(int fd, double until, struct console *c)
{
	char buf[4096];

	while (!cancelled) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n = poll(&p, 1, patience(c, until));

		if (n == 0 && c->ret->up)
			return 0;
		if (!c->ret->up && monotonic_seconds() >= until) {
			c->ret->ended = "was not up in time";
			return 0;
		}
		if (n > 0)
			n = read(fd, buf, sizeof(buf));
		else if (n == 0)
			continue;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(errno, "console: %m");
		if (n == 0) {
			c->ret->ended = "ended before it was up";
			return 0;
		}
		if (feed(c, buf, (size_t)n))
			return 0;
	}
	return -ECANCELED;
}

/* What QEMU says itself must not pass for a guest that is up. */
static void read_error(int fd, char *ret, size_t size)
{
	char text[4096];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	char *last;

	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		n--;
	if (n <= 0)
		return;
	text[n] = 0;
	last = strrchr(text, '\n');
	snprintf(ret, size, "%.*s", (int)size - 1, last ? last + 1 : text);
}

int guest_watch(const char *const *command, const char *text, unsigned seconds,
	struct guest_line *ret)
{
	struct console c = { .wanted = text, .ret = ret };
	double until = monotonic_seconds() + seconds;
	scoped(closep) int errors = memfd_create("errors", MFD_CLOEXEC);
	int fds[2];
	pid_t pid;
	int code, r;

	memset(ret, 0, sizeof(*ret));
	if (errors < 0 || pipe2(fds, O_CLOEXEC) < 0)
		return fail(errno, "console: %m");
	r = child_start(command, fds[1], errors, &pid);
	close(fds[1]);
	if (r == 0) {
		r = watch(fds[0], until, &c);
		if (r < 0 || ret->up || monotonic_seconds() >= until)
			kill(pid, SIGKILL);
		code = child_wait(pid);
		read_error(errors, ret->error, sizeof(ret->error));
		if (r == 0 && code == EXIT_NOT_STARTED)
			r = ended_badly(command[0], code);
	}
	close(fds[0]);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/progress.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "src/bytes.h"
#include "src/log.h"
#include "src/monotonic.h"
#include "src/text.h"
#include "tools/cli.h"

enum { TICK_MS = 200 };

/* The rate forgets: what was 10 s ago counts a third. */
#define FADE 0.02

struct line {
	const char *what;
	const _Atomic uint64_t *done, *total;
	double begun, last_time, rate;
	uint64_t last_done;
	int stop; /* eventfd */
	pthread_t thread;
};

/* Protects the terminal's line; taken after that of message.c, if at all. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool shown;       /* lock */
static size_t shown_len; /* lock */
static bool plain;       /* a terminal that knows no escape sequences */
static bool running;
static struct line line;

static void erase(void)
{
	if (shown && plain)
		fprintf(stderr, "\r%*s\r", (int)shown_len, "");
	else if (shown)
		fputs("\r\033[K", stderr);
	shown = false;
}

void progress_hide(void)
{
	pthread_mutex_lock(&lock);
	erase();
	fflush(stderr);
}

void progress_unhide(void)
{
	pthread_mutex_unlock(&lock);
}

static void eta_text(uint64_t left, double rate, char buf[24])
{
	double s = (double)left / (rate > 1 ? rate : 1);
	unsigned long t = s < 360000 ? (unsigned long)(s + 0.5) : 0;

	if (rate <= 1 || s >= 360000)
		snprintf(buf, 24, "--");
	else if (t >= 3600)
		snprintf(buf, 24, "%lu:%02lu:%02lu", t / 3600, t / 60 % 60,
			t % 60);
	else
		snprintf(buf, 24, "%lu:%02lu", t / 60, t % 60);
}

static void measure(struct line *l, uint64_t done)
{
	double t = monotonic_seconds();
	double passed = t - l->last_time;
	double rate;

	if (passed <= 0 || done < l->last_done)
		return;
	rate = (double)(done - l->last_done) / passed;
	/* at first the mean of all there is, then the fading one */
	if (t - l->begun < 5)
		l->rate = (double)done / (t - l->begun);
	else
		l->rate += (rate - l->rate) * FADE;
	l->last_time = t;
	l->last_done = done;
}

static void draw(struct line *l)
{
	uint64_t total = atomic_load(l->total);
	uint64_t done = atomic_load(l->done);
	char a[16], b[16], r[16], eta[24], text[256];
	struct winsize ws = { 0 };
	size_t width = 80;

	if (done > total)
		done = total;
	measure(l, done);
	eta_text(total - done, l->rate, eta);
	snprintf(text, sizeof(text), "%s  %3u%%  %s of %s  %s/s  ETA %s",
		l->what,
		total ? (unsigned)((double)done * 100 / (double)total) : 0,
		size_text(done, a), size_text(total, b),
		size_text((uint64_t)l->rate, r), eta);
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 1)
		width = ws.ws_col;
	pthread_mutex_lock(&lock);
	erase();
	shown_len = MIN_OF(strlen(text), width - 1);
	fprintf(stderr, "%.*s", (int)shown_len, text);
	fflush(stderr);
	shown = true;
	pthread_mutex_unlock(&lock);
}

static void *draw_until_stopped(void *arg)
{
	struct line *l = arg;
	struct pollfd p = { .fd = l->stop, .events = POLLIN };

	while (poll(&p, 1, TICK_MS) == 0)
		draw(l);
	return NULL;
}

void progress_begin(const struct cli *c, const char *what,
	const _Atomic uint64_t *done, const _Atomic uint64_t *total)
{
	const char *term;

	if (c->json || c->quiet || !isatty(STDERR_FILENO) ||
		(c->progress && strcmp(c->progress, "never") == 0))
		return;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nothing sets it later */
	term = getenv("TERM");
	plain = !term || strcmp(term, "dumb") == 0;
	line = (struct line){ .what = what, .done = done, .total = total };
	line.begun = line.last_time = monotonic_seconds();
	line.stop = eventfd(0, EFD_CLOEXEC);
	/* without it the work goes on all the same */
	if (line.stop < 0)
		return;
	running = pthread_create(
			  &line.thread, NULL, draw_until_stopped, &line) == 0;
	if (!running)
		close(line.stop);
}

void progress_end(void)
{
	uint64_t one = 1;

	if (!running)
		return;
	if (write(line.stop, &one, sizeof(one)) == sizeof(one))
		pthread_join(line.thread, NULL);
	running = false;
	close(line.stop);
	progress_hide();
	progress_unhide();
}

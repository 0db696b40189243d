/* SPDX-License-Identifier: Apache-2.0 */
#include "src/log.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum log_level max_level = LOG_LEVEL_INFO;

static void to_stderr(enum log_level level, const char *text)
{
	static const char *const prefix[] = {
		[LOG_LEVEL_ERROR] = "hivefs: ",
		[LOG_LEVEL_WARN] = "hivefs: warning: ",
		[LOG_LEVEL_INFO] = "hivefs: ",
		[LOG_LEVEL_DEBUG] = "hivefs: debug: ",
	};

	/* one call, so that lines of several threads never mix */
	fprintf(stderr, "%s%s\n", prefix[level], text);
}

static log_sink current_sink = to_stderr;
static log_at_exit current_at_exit;

void log_set_level(enum log_level level)
{
	max_level = level;
}

void log_set_sink(log_sink sink)
{
	current_sink = sink ? sink : to_stderr;
}

log_sink log_get_sink(void)
{
	return current_sink;
}

void log_set_at_exit(log_at_exit at_exit)
{
	current_at_exit = at_exit;
}

log_at_exit log_get_at_exit(void)
{
	return current_at_exit;
}

#define HELD_MAX 16

static _Thread_local struct {
	bool on;
	unsigned n;
	char *text[HELD_MAX];
} held;

/* False: it is to be said now. */
static bool keep(const char *text)
{
	if (!held.on || held.n == HELD_MAX)
		return false;
	held.text[held.n] = strdup(text);
	if (!held.text[held.n])
		return false;
	held.n++;
	return true;
}

void log_hold(void)
{
	assert(!held.on);
	held.on = true;
}

void log_release(bool say)
{
	assert(held.on);
	held.on = false;
	for (unsigned i = 0; i < held.n; i++) {
		if (say)
			current_sink(LOG_LEVEL_ERROR, held.text[i]);
		free(held.text[i]);
	}
	held.n = 0;
}

void log_exit(int code)
{
	if (held.on)
		log_release(true);
	if (current_at_exit)
		current_at_exit(code);
	_exit(code);
}

#define TEXT_MAX 2048

/*
 * File names may hold what moves a cursor, clears a screen or begins a line
 * that looks like another message: bytes below 0x20, and 0x7f; in UTF-8 also
 * 0x80 to 0x9f, which begin with 0xc2.
 */
static void escape(const char *from, char to[4 * TEXT_MAX])
{
	for (const unsigned char *p = (const unsigned char *)from; *p; p++) {
		bool c1 = *p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0;

		if (c1)
			p++;
		if (c1 || *p < 0x20 || *p == 0x7f)
			to += sprintf(to, "\\x%02x", *p);
		else
			*to++ = (char)*p;
	}
	*to = 0;
}

__attribute__((format(printf, 2, 0))) static void say_it(
	enum log_level level, const char *fmt, va_list ap)
{
	char text[TEXT_MAX], clean[4 * TEXT_MAX];
	int saved = errno;

	if (level > max_level)
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	escape(text, clean);
	if (level != LOG_LEVEL_ERROR || !keep(clean))
		current_sink(level, clean);
	errno = saved;
}

int(fail)(int err, const char *fmt, ...)
{
	va_list ap;

	errno = err;
	va_start(ap, fmt);
	say_it(LOG_LEVEL_ERROR, fmt, ap);
	va_end(ap);
	return -err;
}

void log_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say_it(LOG_LEVEL_ERROR, fmt, ap);
	va_end(ap);
}

void log_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say_it(LOG_LEVEL_WARN, fmt, ap);
	va_end(ap);
}

void log_info(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say_it(LOG_LEVEL_INFO, fmt, ap);
	va_end(ap);
}

static bool debug_wanted(const char *module)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nothing sets it later */
	const char *list = getenv("HIVEFS_DEBUG");
	size_t n = strlen(module);

	while (list && *list) {
		size_t len = strcspn(list, ",");

		if ((len == n && strncmp(list, module, n) == 0) ||
			(len == 3 && strncmp(list, "all", 3) == 0))
			return true;
		list += len + (list[len] == ',');
	}
	return false;
}

void log_debug(const char *module, const char *fmt, ...)
{
	char text[TEXT_MAX], clean[4 * TEXT_MAX];
	va_list ap;

	if (!debug_wanted(module))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	escape(text, clean);
	fprintf(stderr, "hivefs: %s: %s\n", module, clean);
}

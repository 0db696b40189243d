/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log - the one way text leaves for a person: stderr, or a sink of the
 * caller's.
 *
 * A message names its object first, in lower case, without a full stop:
 *   chunk 3fa9c2…: digest differs (65536 bytes)
 * It is logged once, where a foreign failure enters (libc, LMDB, libnbd, a bad
 * document); everyone above passes the negative errno on untouched.
 *
 * Threads    any thread; log_set_sink() before threads start.
 */
#ifndef HIVEFS_LOG_H
#define HIVEFS_LOG_H

#include <errno.h>
#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

/* Logs an error and returns -err; %m in FMT is the text of ERR. */
int fail(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Which only clang's analyzer does not know: that it returns less than 0. */
#ifdef __clang_analyzer__
#define fail(...) ((void)(fail)(__VA_ARGS__), -EIO)
#endif

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Shown when $HIVEFS_DEBUG, a comma-separated list, holds MODULE or "all". */
void log_debug(const char *module, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Messages above LEVEL are dropped. Default: LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);

/*
 * From the one to the other this thread's errors wait, while it is not known
 * yet whether they are any: SAY says them, else they never were. What it warns
 * of meanwhile, and the errors of others, are said at once.
 */
void log_hold(void);
void log_release(bool say);

/*
 * Where complete messages go, without a line end and without any control
 * character: \x1b stands for an escape. NULL: back to stderr.
 */
typedef void (*log_sink)(enum log_level level, const char *text);
void log_set_sink(log_sink sink);
log_sink log_get_sink(void);

/*
 * Ends the process with CODE where it cannot go on, once AT_EXIT, if one is
 * set, has given out what the sink still keeps.
 */
typedef void (*log_at_exit)(int code);
void log_set_at_exit(log_at_exit at_exit);
log_at_exit log_get_at_exit(void);
_Noreturn void log_exit(int code);

#endif

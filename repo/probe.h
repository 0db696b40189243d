/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe - what is tried and looked at to tell whether a store does what hivefs
 * needs. Each check says one sentence; nothing is left behind.
 *
 * Threads    one thread; one at a time in a process.
 */
#ifndef HIVEFS_PROBE_H
#define HIVEFS_PROBE_H

#include <stdbool.h>

#include "repo/repo.h"

enum probe_grade { PROBE_OK, PROBE_WARNING, PROBE_FAILED };

struct probe {
	/* CHECK is a word or two; TEXT a sentence, of what is wrong also what
	 * to do */
	void (*say)(void *arg, const char *check, enum probe_grade grade,
		const char *text);
	void *arg;
};

/*
 * All of the repository at URL: 0 whatever the checks say, an error where what
 * it is about has been said and nothing else could be tried: -ENOMEDIUM if
 * there is none. Nothing is logged.
 */
int must_check probe_repository(const struct probe *p, const char *url);

/* For the checks themselves: */
void probe_say(const struct probe *p, const char *check, enum probe_grade grade,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/*
 * From here on what is logged is kept, not shown. probe_heard() says the first
 * error since then as the outcome of CHECK, with HINT (may be NULL) behind it.
 */
void probe_listen(void);
void probe_heard(const struct probe *p, const char *check,
	enum probe_grade grade, const char *hint);

#endif

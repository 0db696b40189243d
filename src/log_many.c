/* SPDX-License-Identifier: Apache-2.0 */
#include "src/log_many.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "src/log.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_many *kinds; /* lock, as all that is in them */

static unsigned left_out(struct log_many *kind)
{
	unsigned n = kind->n > LOG_MANY_SAID ? kind->n - LOG_MANY_SAID : 0;

	kind->n = 0;
	return n;
}

static void say_left_out(const char *what, unsigned n)
{
	if (n)
		log_error("%s: %u more message%s left out", what, n,
			n == 1 ? " was" : "s were");
}

/* Is this one to be said? *RET is how many were not, that nobody was told of.
 */
static bool count(struct log_many *kind, unsigned *ret)
{
	struct timespec now;
	bool said;

	clock_gettime(CLOCK_MONOTONIC, &now);
	pthread_mutex_lock(&lock);
	if (!kind->known) {
		kind->known = true;
		kind->next = kinds;
		kinds = kind;
	}
	*ret = kind->minute == now.tv_sec / 60 ? 0 : left_out(kind);
	kind->minute = now.tv_sec / 60;
	said = kind->n++ < LOG_MANY_SAID;
	pthread_mutex_unlock(&lock);
	return said;
}

int fail_many(struct log_many *kind, int err, const char *fmt, ...)
{
	unsigned before;
	char text[2048];
	va_list ap;

	if (!count(kind, &before))
		return -err;
	say_left_out(kind->what, before);
	errno = err;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return fail(err, "%s", text);
}

void log_many_end(void)
{
	struct log_many *kind;

	pthread_mutex_lock(&lock);
	kind = kinds;
	pthread_mutex_unlock(&lock);
	/* a kind that was made known stays where it is */
	for (; kind; kind = kind->next) {
		unsigned n;

		pthread_mutex_lock(&lock);
		n = left_out(kind);
		pthread_mutex_unlock(&lock);
		say_left_out(kind->what, n);
	}
}

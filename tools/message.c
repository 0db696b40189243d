/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/message.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/exit.h"
#include "src/log.h"
#include "src/log_many.h"
#include "tools/json.h"
#include "tools/progress.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *first_error; /* lock */
static char *last;        /* lock; message */

/* Is it the same as the one before? Remembers it otherwise. */
static bool is_repeated(const char *text)
{
	if (last && strcmp(last, text) == 0)
		return true;
	free(last);
	last = strdup(text);
	return false;
}

static void text_sink(enum log_level level, const char *text)
{
	static const char *const prefix[] = {
		[LOG_LEVEL_ERROR] = "hivefs: ",
		[LOG_LEVEL_WARN] = "hivefs: warning: ",
		[LOG_LEVEL_INFO] = "hivefs: ",
		[LOG_LEVEL_DEBUG] = "hivefs: debug: ",
	};

	pthread_mutex_lock(&lock);
	if (!is_repeated(text)) {
		progress_hide();
		fprintf(stderr, "%s%s\n", prefix[level], text);
		progress_unhide();
	}
	pthread_mutex_unlock(&lock);
}

static void json_sink(enum log_level level, const char *text)
{
	static const char *const names[] = {
		[LOG_LEVEL_ERROR] = "error",
		[LOG_LEVEL_WARN] = "warning",
		[LOG_LEVEL_INFO] = "info",
		[LOG_LEVEL_DEBUG] = "debug",
	};
	bool kept = false; /* for the end; without memory it is said at once */

	pthread_mutex_lock(&lock);
	if (level == LOG_LEVEL_ERROR && !first_error) {
		first_error = strdup(text);
		kept = first_error != NULL;
	}
	if (!kept && !is_repeated(text) &&
		!(first_error && strcmp(first_error, text) == 0))
		json_line(stderr,
			json_pack("{s:s, s:s, s:o}", "type", "message", "level",
				names[level], "message", json_text(text)));
	pthread_mutex_unlock(&lock);
}

bool message_wants_json(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}

void message_begin(bool json)
{
	log_set_sink(json ? json_sink : text_sink);
	log_set_at_exit(message_end);
}

void message_end(int code)
{
	log_many_end();
	if (first_error && code != EXIT_OK)
		json_line(stderr,
			json_pack("{s:s, s:i, s:o}", "type", "error", "code",
				code, "message", json_text(first_error)));
	else if (first_error)
		json_line(stderr,
			json_pack("{s:s, s:s, s:o}", "type", "message", "level",
				"error", "message", json_text(first_error)));
	free(first_error);
	free(last);
	first_error = last = NULL;
	log_set_sink(NULL);
	log_set_at_exit(NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/location.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "src/log.h"

static const char *env(const char *name)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nothing sets it later */
	const char *v = getenv(name);

	return v && *v ? v : NULL;
}

/* WHAT names the path in messages. */
static int from_file(const char *what, const char *path, char **ret)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	if (!f)
		return fail(errno, "%s: %s: %m", what, path);
	errno = 0;
	n = getline(&line, &cap, f);
	if (n < 0 && errno != 0) {
		int err = errno;

		free(line);
		fclose(f);
		return fail(err, "%s: %s: read: %m", what, path);
	}
	fclose(f);
	if (n > 0)
		line[strcspn(line, "\r\n")] = 0;
	if (n <= 0 || !*line) {
		free(line);
		return fail(EINVAL,
			"%s: %s: its first line names no repository", what,
			path);
	}
	*ret = line;
	return 0;
}

static const char *home(void)
{
	const char *dir = env("HOME");
	const struct passwd *pw;

	if (dir)
		return dir;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): before threads start */
	pw = getpwuid(getuid());
	return pw ? pw->pw_dir : NULL;
}

static int by_default(char **ret)
{
	const char *data = env("XDG_DATA_HOME");
	const char *dir;
	int n;

	if (geteuid() == 0)
		n = asprintf(ret, "/var/lib/hivefs");
	else if (data &&
		 *data == '/') /* XDG: a relative one is to be ignored */
		n = asprintf(ret, "%s/hivefs", data);
	else if ((dir = home()))
		n = asprintf(ret, "%s/.local/share/hivefs", dir);
	else
		return fail(EINVAL,
			"repository: none is named, and there is no "
			"home directory to look for it in");
	return n < 0 ? fail(ENOMEM, "repository: %m") : 0;
}

/* Takes TEXT. What has a scheme is left as it is. */
static int make_absolute(char *text, char **ret)
{
	scoped(freep) char *owned = text;
	scoped(freep) char *cwd = NULL;
	char *path;

	if (*text == '/' || strstr(text, "://")) {
		*ret = take(owned);
		return 0;
	}
	cwd = getcwd(NULL, 0);
	if (!cwd)
		return fail(errno, "%s: current directory: %m", text);
	if (asprintf(&path, "%s/%s", cwd, text) < 0)
		return fail(ENOMEM, "%s: %m", text);
	*ret = path;
	return 0;
}

int repo_location(const char *given, char **ret)
{
	const char *file = env("HIVEFS_REPO_FILE");
	char *text = NULL;
	int r = 0;

	if (given && !*given)
		return fail(EINVAL, "repository: its name is empty");
	if (!given)
		given = env("HIVEFS_REPO");
	if (!given && file)
		r = from_file("$HIVEFS_REPO_FILE", file, &text);
	else if (!given)
		r = by_default(&text);
	else if (!(text = strdup(given)))
		r = fail(ENOMEM, "repository: %m");
	return r < 0 || !text ? r : make_absolute(text, ret);
}

int repo_location_in(const char *what, const char *path, char **ret)
{
	char *text;
	int r = from_file(what, path, &text);

	return r < 0 ? r : make_absolute(text, ret);
}

int repo_location_prepare(const char *given, const char *path)
{
	scoped(freep) char *above = strdup(path);

	if (given || env("HIVEFS_REPO") || env("HIVEFS_REPO_FILE"))
		return 0;
	if (!above)
		return fail(ENOMEM, "%s: %m", path);
	for (char *slash = strchr(above + 1, '/'); slash;
		slash = strchr(slash + 1, '/')) {
		*slash = 0;
		/* as the XDG base directory specification wants them */
		if (mkdir(above, 0700) != 0 && errno != EEXIST)
			return fail(errno, "%s: %m", above);
		*slash = '/';
	}
	return 0;
}

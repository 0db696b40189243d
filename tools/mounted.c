/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "tools/mounted.h"

#include <errno.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>

#include "src/exit.h"
#include "src/log.h"
#include "tools/child.h"
#include "tools/json.h"

/* As its own status says: others may show it under any name. */
static bool is_of(const char *dir, const struct uuid *repository)
{
	scoped(freep) char *path = NULL;

	if (asprintf(&path, "%s/.hivefs/status.json", dir) < 0) {
		path = NULL;
		return false;
	}
	return json_names(path, "uuid", repository);
}

int mounted_find(const struct uuid *repository, char **ret)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	char buf[16384];
	char *dir = NULL;
	struct mntent m;

	if (!f)
		return fail(errno, "/proc/self/mounts: %m");
	while (!dir && getmntent_r(f, &m, buf, sizeof(buf))) {
		if (strcmp(m.mnt_type, "fuse.hivefs") != 0 ||
			hasmntopt(&m, "ro") || !is_of(m.mnt_dir, repository))
			continue;
		dir = strdup(m.mnt_dir);
	}
	endmntent(f);
	if (!dir)
		return -ENOENT;
	*ret = dir;
	return 0;
}

int mounted_directory(char **ret)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the only thread */
	const char *base = getenv("XDG_RUNTIME_DIR");
	char *dir;

	if (!base || !*base || access(base, W_OK) != 0)
		base = "/tmp";
	if (asprintf(&dir, "%s/hivefs-boot.XXXXXX", base) < 0)
		return fail(ENOMEM, "mount: %m");
	if (!mkdtemp(dir)) {
		int err = fail(errno, "a directory in %s: %m", base);

		free(dir);
		return err;
	}
	*ret = dir;
	return 0;
}

int mounted_make(const char *dir)
{
	const char *const argv[] = { CHILD_SELF, "mount", dir, NULL };
	int code = child_run(argv, false);

	return code == EXIT_OK ? 0
			       : fail(EIO,
					 "the repository could not be mounted "
					 "(exit code %d)",
					 code);
}

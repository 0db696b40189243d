/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options - the command line of a mount, as a FUSE user, fstab and mount(8)
 * say it.
 *
 * Ownership  options_fini() frees what options_parse() returned.
 * Threads    before any other is started.
 */
#ifndef HIVEFS_OPTIONS_H
#define HIVEFS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/cleanup.h"

#define CACHE_DEFAULT (UINT64_C(256) << 20)
#define CACHE_LEAST (UINT64_C(16) << 20)

struct mount_options {
	const char *repo; /* as it was said, or NULL; borrowed from ARGV */
	const char *mountpoint; /* likewise */
	bool help;
	bool foreground;
	bool debug;
	bool read_only;
	bool json, quiet, verbose;
	uint64_t cache;   /* bytes */
	uint32_t formats; /* rows of formats that are shown, as bits */
	bool vmfs, full_blocks, many_writers, takeover;
	uid_t uid;
	gid_t gid;
	mode_t umask;
	char *fsname; /* NULL: the repository's URL */
	char *fuse;   /* what libfuse is to get with -o, or NULL */
};

/*
 * ARGV[0] is skipped; the words are reordered. REPO was said before the verb,
 * or is NULL. -EINVAL, logged as one sentence, if it is no such command line.
 */
int must_check options_parse(
	const char *repo, int argc, char **argv, struct mount_options *ret);
void options_fini(struct mount_options *o);

/* What --help prints. */
extern const char options_help[];

#endif

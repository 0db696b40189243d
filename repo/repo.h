/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repo - an open repository: a store and what its `meta` documents say.
 *
 * Ownership  repo_open() returns owned; repo_close() frees. Everything opened
 *            on a repo borrows it.
 * Threads    immutable after open; any thread.
 * Errors     of store.h; -EPROTONOSUPPORT if `meta` asks for what this build
 *            does not know.
 */
#ifndef HIVEFS_REPO_H
#define HIVEFS_REPO_H

#include <stdbool.h>
#include <stdint.h>

#include "repo/store.h"
#include "src/uuid.h"

#define REPO_FORMAT 1

enum { REPO_LEVEL_DEFAULT = 1, REPO_LEVEL_MAX = 19 };

struct repo {
	struct store *store;
	char *url; /* as others may see it: without a password */
	struct uuid uuid;
	int64_t created;  /* seconds since 1970, UTC */
	int level;        /* of zstd */
	bool trust_clock; /* set by whoever was told that it is right */
};

/* Makes a repository. LEVEL is how hard zstd tries, 1 to REPO_LEVEL_MAX. */
int must_check repo_init(const char *url, int level, struct uuid *ret);

/* FLAGS are store_flags. */
int must_check repo_open(const char *url, unsigned flags, struct repo **ret);
void repo_close(struct repo *r);
DEFINE_CLEANUP(struct repo *, repo_close);

/* The counter that garbage collection moves and writers register under. */
int must_check repo_generation(struct repo *r, uint64_t *ret);

/* Moves it on by one; its new value. */
int must_check repo_generation_next(struct repo *r, uint64_t *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_dir - the directory of one stream of an embedded store: which files
 * there are, and who may change them.
 *
 * Ownership  a `struct stream_dir` owns its descriptor: stream_dir_fini().
 * Threads    immutable after open; any thread.
 * Errors     logged but where it says quietly.
 */
#ifndef HIVEFS_STREAM_DIR_H
#define HIVEFS_STREAM_DIR_H

#include "repo/repodir.h"
#include "repo/stream_record.h"
#include "src/vec.h"

struct stream_dir {
	char *path; /* for messages */
	int fd;     /* -1: there is none */
	struct uuid id;
	uint64_t salt;
};

struct stream_numbers vec(uint32_t);

/*
 * -ENOENT, quietly, if there is none, unless CREATE. Its name is durable only
 * after stream_dir_sync_name().
 */
int must_check stream_dir_open(const struct repodir *d, const struct uuid *id,
	bool create, struct stream_dir *ret);
void stream_dir_fini(struct stream_dir *d);
int must_check stream_dir_sync_name(
	const struct repodir *repo, const struct stream_dir *d);

/* Visits the ids of all streams that have a directory. */
int must_check stream_dirs_list(const struct repodir *repo,
	int (*visit)(void *arg, const struct uuid *id), void *arg);

/* Ascending. */
int must_check stream_dir_list(
	const struct stream_dir *d, struct stream_numbers *ret);

/* -ENOENT quietly. */
int must_check stream_dir_open_file(
	const struct stream_dir *d, uint32_t number, int flags, int *ret_fd);

/* -ENOENT quietly; -EBADMSG. */
int must_check stream_dir_read_header(const struct stream_dir *d,
	uint32_t number, int fd, uint64_t *ret_first);

/*
 * Makes a file whose first record will be FIRST, durable with its name;
 * -ENOSPC quietly. *ret_there is true, whatever is returned, if it is there
 * now. ret_fd is open for both.
 */
int must_check stream_dir_add_file(const struct stream_dir *d, uint32_t number,
	uint64_t first, bool *ret_there, int *ret_fd);
int must_check stream_dir_remove_file(
	const struct stream_dir *d, uint32_t number);

/*
 * The right to change the stream, for as long as ret_fd is open. OWNER may be
 * NULL. -EBUSY, logged, with who has it. -EAGAIN, quietly: the directory was
 * removed meanwhile.
 */
int must_check stream_dir_lock(const struct stream_dir *d,
	const struct stream_owner *owner, int *ret_fd);
void stream_dir_unlock(int fd);

/* -ENOENT, quietly, if nobody has the lock. */
int must_check stream_dir_owner(
	const struct stream_dir *d, struct stream_owner *ret);

/* All of it; the lock, which is given back, is held. */
int must_check stream_dir_remove(
	const struct repodir *repo, struct stream_dir *d, int lock);

#endif

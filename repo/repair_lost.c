/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/repair_lost.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "repo/index.h"
#include "src/log.h"

static void say_nothing(enum log_level level, const char *text)
{
	(void)level;
	(void)text;
}

/* In the child: how long each segment was, into FD. */
static int tell_rows(const struct repodir *d, FILE *to)
{
	scoped(index_closep) struct index *ix = NULL;
	struct segment_rows rows = { 0 };
	int r;

	if (faccessat(d->fd, "index/data.mdb", F_OK, 0) != 0)
		return -ENOENT;
	r = index_open(d->index, &d->seal.uuid, INDEX_READ_ONLY, &ix);
	if (r == 0)
		r = index_list_rows(ix, &rows);
	for (size_t i = 0; r == 0 && i < rows.n; i++)
		if (rows.v[i].committed > 0)
			fprintf(to, "%" PRIu32 " %" PRIu64 "\n", rows.v[i].id,
				rows.v[i].committed);
	vec_fini(&rows);
	return r;
}

static void check_row(const struct repodir *d, uint32_t id, uint64_t committed,
	struct store_repair *result)
{
	char name[SEGMENT_NAME];
	struct stat st = { 0 };
	uint64_t lost;

	if (fstatat(d->segments, segment_name(id, name), &st, 0) != 0 &&
		errno != ENOENT)
		return;
	if ((uint64_t)st.st_size >= committed)
		return;
	lost = committed - (uint64_t)st.st_size;
	log_error("%s/segments/%s: %s: %" PRIu64 " bytes of documents are lost",
		d->path, name, st.st_nlink ? "ends too early" : "is missing",
		lost);
	result->damaged++;
	result->damaged_bytes += lost;
}

/* What reads a damaged index may be ended by it: a process of its own. */
void repair_find_lost(const struct repodir *d, struct store_repair *result)
{
	int fds[2];
	pid_t child;
	FILE *from;
	uint32_t id;
	uint64_t committed;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return;
	child = fork();
	if (child == 0) {
		FILE *to = fdopen(fds[1], "w");

		log_set_sink(say_nothing);
		log_set_at_exit(NULL);
		if (to && tell_rows(d, to) == 0)
			fclose(to);
		_exit(0);
	}
	close(fds[1]);
	from = fdopen(fds[0], "r");
	while (child > 0 && from &&
		fscanf(from, "%" SCNu32 " %" SCNu64, &id, &committed) == 2)
		check_row(d, id, committed, result);
	if (from)
		fclose(from);
	else
		close(fds[0]);
	if (child > 0)
		waitpid(child, NULL, 0);
}

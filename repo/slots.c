/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/slots.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "src/bytes.h"
#include "src/log.h"

struct slots {
	struct repodir *dir;
	struct index *index;
	pthread_mutex_t lock;
	struct slot *idle; /* lock */
};

int slots_new(struct repodir *dir, struct index *index, struct slots **ret)
{
	struct slots *s = calloc(1, sizeof(*s));

	if (!s)
		return fail(ENOMEM, "%s: %m", dir->path);
	s->dir = dir;
	s->index = index;
	pthread_mutex_init(&s->lock, NULL);
	*ret = s;
	return 0;
}

static void slot_free(struct slot *slot)
{
	segment_append_fini(&slot->append);
	closep(&slot->fd);
	free(slot);
}
DEFINE_CLEANUP(struct slot *, slot_free);

void slots_release(struct slots *s)
{
	struct slot *idle;

	pthread_mutex_lock(&s->lock);
	idle = take(s->idle);
	pthread_mutex_unlock(&s->lock);
	while (idle) {
		struct slot *slot = idle;

		idle = slot->next;
		slot_free(slot);
	}
}

void slots_free(struct slots *s)
{
	slots_release(s);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int segment_open_append(
	const struct repodir *dir, uint32_t id, bool create, int *ret_fd)
{
	char name[SEGMENT_NAME];
	int fd = openat(dir->segments, segment_name(id, name),
		O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);

	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0 && (errno == ENOSPC || errno == EDQUOT))
		return -ENOSPC;
	if (fd < 0)
		return fail(errno, "%s/segments/%s: %m", dir->path, name);
	*ret_fd = fd;
	return 0;
}

static int segment_begin(const struct repodir *dir, uint32_t id, int fd)
{
	uint8_t header[SEGMENT_HEADER];
	ssize_t n;

	segment_header_encode(&dir->seal, id, header);
	if (ftruncate(fd, 0) != 0)
		return -errno;
	n = pwrite(fd, header, sizeof(header), 0);
	if (n < 0)
		return -errno;
	if (n != sizeof(header))
		return -ENOSPC;
	/* its name must be durable before anything refers to it; the header is
	 * with the first record, by the same fdatasync */
	return fsync(dir->segments) == 0 ? 0 : -errno;
}

static int cut_off(int fd, uint64_t committed)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -errno;
	if ((uint64_t)st.st_size < committed)
		return -EBADMSG;
	if ((uint64_t)st.st_size > committed &&
		(ftruncate(fd, (off_t)committed) != 0 || fsync(fd) != 0))
		return -errno;
	return 0;
}

int segment_trim(
	const struct repodir *dir, const struct segment_row *row, int fd)
{
	int r = row->committed ? cut_off(fd, row->committed)
			       : segment_begin(dir, row->id, fd);

	if (r == -ENOSPC || r == -EDQUOT)
		return -ENOSPC;
	if (r == -EBADMSG)
		return fail(EBADMSG,
			"%s/segments/%08x.seg: is shorter than it was",
			dir->path, row->id);
	if (r < 0)
		return fail(-r, "%s/segments/%08x.seg: %m", dir->path, row->id);
	return 0;
}

uint64_t segment_limit(const struct repodir *dir)
{
	uint64_t limit = dir->fs_bytes / 64;

	/* one without a size has no end */
	if (limit == 0 || limit > SEGMENT_LIMIT)
		limit = SEGMENT_LIMIT;
	return MAX_OF(limit, (uint64_t)SEGMENT_LIMIT_MIN);
}

int segment_allocate(struct index_txn *t, bool journal, struct segment_row *ret)
{
	struct index_state state;
	int r = index_state(t, &state);

	if (r < 0)
		return r;
	if (state.next_segment == UINT32_MAX)
		return fail(EIO, "no segment numbers are left");
	*ret = (struct segment_row){ .id = state.next_segment++,
		.journal = journal };
	if (journal)
		state.journal = ret->id;
	r = index_set_row(t, ret);
	return r < 0 ? r : index_set_state(t, &state);
}

static int allocate(struct index_txn *t, void *arg)
{
	return segment_allocate(t, false, arg);
}

static int seal(struct index_txn *t, void *arg)
{
	const uint32_t *id = arg;
	struct segment_row row;
	int r = index_row(t, *id, &row);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	row.sealed = true;
	return index_set_row(t, &row);
}

static bool usable(
	const struct slots *s, const struct segment_row *row, enum coll c)
{
	return !row->sealed && !row->journal &&
	       row->committed < segment_limit(s->dir) &&
	       (row->colls & ~(1u << c)) == 0;
}

static int row_again(struct slots *s, struct segment_row *row)
{
	struct index_txn t;
	int r = index_read(s->index, &t);

	if (r < 0)
		return r;
	r = index_row(&t, row->id, row);
	index_read_end(&t);
	return r;
}

/* -EBUSY or -ENOENT, quietly, if it is not to be had. */
static int slot_open(struct slots *s, enum coll c,
	const struct segment_row *seen, struct slot **ret)
{
	scoped(slot_freep) struct slot *slot = calloc(1, sizeof(*slot));
	struct flock lock = { .l_type = F_WRLCK };
	struct segment_row row = *seen;
	int r;

	if (!slot)
		return fail(ENOMEM, "%s: %m", s->dir->path);
	slot->fd = -1;
	r = segment_open_append(s->dir, row.id, row.committed == 0, &slot->fd);
	if (r < 0)
		return r;
	if (fcntl(slot->fd, F_OFD_SETLK, &lock) != 0)
		return -EBUSY;
	/* only what the table says now, with the lock in hand, counts */
	r = row_again(s, &row);
	if (r == 0 && !usable(s, &row, c))
		r = -EBUSY;
	if (r == 0)
		r = segment_trim(s->dir, &row, slot->fd);
	if (r < 0)
		return r;
	slot->id = row.id;
	slot->coll = c;
	slot->committed = row.committed ? row.committed : SEGMENT_HEADER;
	if (segment_append_init(&slot->append, slot->fd,
		    segment_seed(&s->dir->seal, row.id), slot->committed) < 0)
		return fail(ENOMEM, "%s: %m", s->dir->path);
	*ret = take(slot);
	return 0;
}

/* One that another process left, or left behind. */
static int slot_reuse(struct slots *s, enum coll c, struct slot **ret)
{
	struct segment_rows rows = { 0 };
	int r = index_list_rows(s->index, &rows);

	for (size_t i = 0; r == 0 && i < rows.n && !*ret; i++) {
		if (!usable(s, &rows.v[i], c))
			continue;
		r = slot_open(s, c, &rows.v[i], ret);
		if (r == -EBADMSG)
			r = index_update(s->index, seal, &rows.v[i].id);
		if (r == -EBUSY || r == -ENOENT)
			r = 0;
	}
	vec_fini(&rows);
	return r;
}

int slots_take(struct slots *s, enum coll c, struct slot **ret)
{
	struct slot *slot = NULL;
	int r;

	pthread_mutex_lock(&s->lock);
	for (struct slot **p = &s->idle; *p; p = &(*p)->next)
		if ((*p)->coll == c) {
			slot = *p;
			*p = slot->next;
			break;
		}
	pthread_mutex_unlock(&s->lock);
	r = slot ? 0 : slot_reuse(s, c, &slot);
	while (r == 0 && !slot) {
		struct segment_row row;

		r = index_update(s->index, allocate, &row);
		if (r == 0)
			r = slot_open(s, c, &row, &slot);
		/* another was faster to take up the new one: fine, go on */
		if (r == -EBUSY)
			r = 0;
	}
	if (r == 0)
		*ret = slot;
	return r;
}

void slots_give(struct slots *s, struct slot *slot, enum slot_state state)
{
	/* Best effort: give the space back. Where the outcome is unknown only
	 * the table can tell what is published: the next to take the segment
	 * will look. */
	if ((state == SLOT_TORN || state == SLOT_BROKEN) &&
		ftruncate(slot->fd, (off_t)slot->committed) != 0)
		log_debug("store", "segment %08x: %m", slot->id);
	if (state == SLOT_BROKEN && index_update(s->index, seal, &slot->id) < 0)
		log_debug("store", "segment %08x: not sealed", slot->id);
	if (state != SLOT_GOOD || slot->committed >= segment_limit(s->dir)) {
		slot_free(slot);
		return;
	}
	pthread_mutex_lock(&s->lock);
	slot->next = s->idle;
	s->idle = slot;
	pthread_mutex_unlock(&s->lock);
}

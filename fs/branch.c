/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/branch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/log.h"
#include "src/monotonic.h"
#include "src/process.h"

/* How long a file is waited for that is about to be closed: the kernel tells
 * of it only after close(2) has returned. */
#define RELEASE_MS 2000
#define PAUSE_MS 10

/* A clone that its owner drops just then is forked anew. */
#define ATTEMPTS 8

struct writing {
	const struct format *format;
	unsigned n;       /* handles */
	unsigned n_texts; /* those of the file without the disk's bytes */
};

struct branch {
	struct branches *all;
	struct branch *next; /* branches->lock */
	struct uuid id;
	bool has_name;
	unsigned n_refs;      /* branches->lock */
	pthread_mutex_t turn; /* before branches->lock */
	/* turn and branches->lock to change; kept while there is a reference */
	struct open_clone *_Atomic open;
	char text[512];          /* branches->lock; as `open` */
	struct writing *writing; /* branches->lock; per disk, as `open` */
	_Atomic int64_t changed; /* as `open` */
};

static bool same(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

static void pause_ms(unsigned ms)
{
	const struct timespec t = { .tv_nsec = ms * 1000000L };

	nanosleep(&t, NULL);
}

void branches_init(struct branches *all, struct cache *c, const char *place)
{
	*all = (struct branches){ .cache = c, .owner.pid = getpid() };
	process_host(all->owner.host);
	snprintf(all->owner.place, sizeof(all->owner.place), "%s", place);
	pthread_mutex_init(&all->lock, NULL);
	glances_init(&all->glances);
}

void branches_fini(struct branches *all)
{
	glances_fini(&all->glances);
	pthread_mutex_destroy(&all->lock);
}

/* Lock held. */
static struct branch *find(struct branches *all, const struct uuid *id)
{
	struct branch *b = all->first;

	while (b && !same(&b->id, id))
		b = b->next;
	return b;
}

int branch_get(struct branches *all, const struct uuid *id, bool has_name,
	struct branch **ret)
{
	struct branch *fresh = calloc(1, sizeof(*fresh));
	struct branch *b;

	if (!fresh)
		return fail(ENOMEM, "clone: %m");
	*fresh = (struct branch){ .all = all, .id = *id, .has_name = has_name };
	pthread_mutex_init(&fresh->turn, NULL);
	pthread_mutex_lock(&all->lock);
	b = find(all, id);
	if (!b) {
		b = take(fresh);
		b->next = all->first;
		all->first = b;
	}
	b->n_refs++;
	pthread_mutex_unlock(&all->lock);
	if (fresh) {
		pthread_mutex_destroy(&fresh->turn);
		free(fresh);
	}
	*ret = b;
	return 0;
}

/* Turn held. */
static void let_go(const struct branch *b, struct open_clone *open)
{
	if (b->has_name || open_clone_written(open))
		open_clone_close(open);
	else if (open_clone_discard(open) < 0)
		log_warn("clone %s: nothing was written to it, but it could "
			 "not be dropped",
			b->text);
}

/* Lock held. */
static void remove_branch(struct branches *all, const struct branch *b)
{
	struct branch **p = &all->first;

	while (*p != b)
		p = &(*p)->next;
	*p = b->next;
}

/* True unless it is the last reference, which it leaves. */
static bool put_quickly(struct branch *b)
{
	bool more;

	pthread_mutex_lock(&b->all->lock);
	more = b->n_refs > 1;
	if (more)
		b->n_refs--;
	pthread_mutex_unlock(&b->all->lock);
	return more;
}

void branch_put(struct branch *b)
{
	struct branches *all = b->all;
	struct open_clone *open = NULL;
	bool last;

	if (put_quickly(b))
		return;
	pthread_mutex_lock(&b->turn);
	pthread_mutex_lock(&all->lock);
	if (b->n_refs == 1) {
		/* nobody reads through it any more; who comes now waits for
		 * its turn before taking the clone again */
		open = atomic_exchange(&b->open, NULL);
		free(take(b->writing));
	}
	pthread_mutex_unlock(&all->lock);
	if (open) {
		struct fold_stats folded = open_clone_folded(open);

		let_go(b, open);
		pthread_mutex_lock(&all->lock);
		fold_stats_add(&all->folded, &folded);
		pthread_mutex_unlock(&all->lock);
		glance_forget(&all->glances, &b->id);
	}
	pthread_mutex_lock(&all->lock);
	last = --b->n_refs == 0;
	if (last)
		remove_branch(all, b);
	pthread_mutex_unlock(&all->lock);
	pthread_mutex_unlock(&b->turn);
	if (last) {
		pthread_mutex_destroy(&b->turn);
		free(b);
	}
}

struct open_clone *branch_open(const struct branch *b)
{
	return atomic_load(&b->open);
}

static bool is_owned(
	struct store *s, const struct clone *c, struct stream_owner *ret)
{
	for (size_t i = 0; i < c->disks.n; i++)
		if (stream_owner(s, &c->disks.v[i].stream, ret) == 0)
			return true;
	return false;
}

/* UNTIL is a time of monotonic_ms(). */
static int wait_for_owner(
	struct store *s, const struct clone *c, int64_t until, char **ret)
{
	struct stream_owner owner;
	char *text = clone_text(c);

	if (!text)
		return fail(ENOMEM, "clone: %m");
	while (is_owned(s, c, &owner)) {
		if (monotonic_ms() >= until) {
			fail(EBUSY,
				"clone %s: is in use by %s, process %" PRId64
				", %s",
				text, owner.host, owner.pid, owner.place);
			free(text);
			return -EBUSY;
		}
		pause_ms(PAUSE_MS);
	}
	*ret = text;
	return 0;
}

/* Turn held; -EAGAIN: it was dropped in between. */
static int try_take(struct branch *b, const struct point *point, int64_t until)
{
	struct branches *all = b->all;
	struct repo *repo = cache_repo(all->cache);
	scoped(freep) struct writing *writing = NULL;
	scoped(freep) char *text = NULL;
	struct open_clone *open;
	int64_t created;
	struct clone c;
	int r = point ? clone_fork(repo, point, NULL, &c)
		      : clone_get(repo, &b->id, &c);

	if (r < 0)
		return r;
	r = wait_for_owner(repo->store, &c, until, &text);
	writing = calloc(c.disks.n, sizeof(*writing));
	created = c.created;
	clone_fini(&c);
	if (r == 0 && !writing)
		r = fail(ENOMEM, "clone: %m");
	if (r < 0)
		return r;
	r = open_clone_take(all->cache, &b->id, &all->owner, &open);
	if (r < 0)
		return r == -ENOENT && point ? -EAGAIN : r;
	pthread_mutex_lock(&all->lock);
	snprintf(b->text, sizeof(b->text), "%s", text);
	b->writing = take(writing);
	atomic_store(&b->changed, created);
	atomic_store(&b->open, open);
	pthread_mutex_unlock(&all->lock);
	return 0;
}

/*
 * Who waits for its turn meanwhile waits for the owner, too: all that come at
 * once end at once, and keep threads of the mount busy for no longer.
 */
int branch_take(struct branch *b, const struct point *point)
{
	int64_t until = monotonic_ms() + RELEASE_MS;
	int r = 0;

	pthread_mutex_lock(&b->turn);
	if (!branch_open(b)) {
		r = -EAGAIN;
		for (int i = 0; r == -EAGAIN && i < ATTEMPTS; i++)
			r = try_take(b, point, until);
	}
	pthread_mutex_unlock(&b->turn);
	return r == -EAGAIN ? -EBUSY : r;
}

/* A handle of another format that is written to is in the way: its name. */
static const char *write_begin(
	struct branch *b, size_t disk, const struct format *f)
{
	const char *other = NULL;
	struct writing *w;

	pthread_mutex_lock(&b->all->lock);
	w = &b->writing[disk];
	if (f->max_size) {
		w->n_texts++;
	} else if (w->n && w->format != f && !b->all->many_writers) {
		other = w->format->name;
	} else {
		w->format = f;
		w->n++;
	}
	pthread_mutex_unlock(&b->all->lock);
	return other;
}

int branch_write_begin(struct branch *b, size_t disk, const struct format *f)
{
	const char *other;

	for (int ms = 0; (other = write_begin(b, disk, f)); ms += PAUSE_MS) {
		if (ms >= RELEASE_MS)
			return fail(EBUSY,
				"clone %s: disk %zu: is open for writing as "
				"%s, so not as %s",
				b->text, disk, other, f->name);
		pause_ms(PAUSE_MS);
	}
	return 0;
}

bool branch_write_end(struct branch *b, size_t disk, const struct format *f)
{
	bool last;

	pthread_mutex_lock(&b->all->lock);
	if (f->max_size)
		b->writing[disk].n_texts--;
	else
		b->writing[disk].n--;
	last = f->max_size && b->writing[disk].n_texts == 0;
	pthread_mutex_unlock(&b->all->lock);
	return last;
}

void branch_changed(struct branch *b)
{
	atomic_store(&b->changed, time(NULL));
}

/* Turn held. */
static int discard(struct branch *b)
{
	struct branches *all = b->all;
	struct open_clone *open;
	bool busy;
	int r;

	pthread_mutex_lock(&all->lock);
	busy = b->n_refs > 1 || branch_open(b);
	pthread_mutex_unlock(&all->lock);
	if (busy)
		return -EBUSY;
	r = open_clone_take(all->cache, &b->id, &all->owner, &open);
	if (r == 0)
		r = open_clone_discard(open);
	glance_forget(&all->glances, &b->id);
	return r;
}

int branch_discard(struct branch *b)
{
	int r;

	pthread_mutex_lock(&b->turn);
	r = discard(b);
	pthread_mutex_unlock(&b->turn);
	return r;
}

bool branches_disk(struct branches *all, const struct uuid *id, size_t disk,
	struct branch_disk *ret)
{
	struct open_clone *open;
	struct branch *b;

	pthread_mutex_lock(&all->lock);
	b = find(all, id);
	open = b ? branch_open(b) : NULL;
	if (open && disk >= open_clone_disks(open))
		open = NULL;
	if (open) {
		struct live *l = open_clone_disk(open, disk);

		*ret = (struct branch_disk){ .size = live_size(l),
			.sector_size = live_sector_size(l),
			.data = live_data(l),
			.changed = atomic_load(&b->changed),
			.lengths = glance_lengths(l) };
	}
	pthread_mutex_unlock(&all->lock);
	return open;
}

/* Lock held. */
static void describe(const struct branch *b, struct open_clone *open,
	struct branch_info *ret)
{
	*ret = (struct branch_info){ .id = b->id,
		.handles = b->n_refs,
		.written = open_clone_written(open),
		.folded = open_clone_folded(open) };
	open_clone_folding(open, &ret->folding, &ret->folding_done);
	snprintf(ret->text, sizeof(ret->text), "%s", b->text);
	for (size_t i = 0; i < open_clone_disks(open); i++) {
		struct live_load l = live_load(open_clone_disk(open, i));

		ret->load.stream_bytes += l.stream_bytes;
		ret->load.memory += l.memory;
	}
}

bool branches_find(
	struct branches *all, const struct uuid *id, struct branch_info *ret)
{
	struct open_clone *open;
	struct branch *b;

	pthread_mutex_lock(&all->lock);
	b = find(all, id);
	open = b ? branch_open(b) : NULL;
	if (open)
		describe(b, open, ret);
	pthread_mutex_unlock(&all->lock);
	return open;
}

struct fold_stats branches_folded(struct branches *all)
{
	struct fold_stats folded;

	pthread_mutex_lock(&all->lock);
	folded = all->folded;
	pthread_mutex_unlock(&all->lock);
	return folded;
}

void branches_list(struct branches *all,
	void (*visit)(void *arg, const struct branch_info *info), void *arg)
{
	struct branch_info info;

	pthread_mutex_lock(&all->lock);
	for (const struct branch *b = all->first; b; b = b->next) {
		struct open_clone *open = branch_open(b);

		if (!open)
			continue;
		describe(b, open, &info);
		visit(arg, &info);
	}
	pthread_mutex_unlock(&all->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/clone_branch.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "repo/writer.h"
#include "src/log.h"

/* How often a clone may be folded under our eyes. */
#define ATTEMPTS 8

/* How often its disks are looked at for one instant without a write. */
#define ROUNDS 100
#define PAUSE_NS 10000000

/* A disk's stream, as far as it is copied. */
struct copy {
	const char *clone; /* for messages */
	struct stream *to;
	uint64_t next; /* of the other: the first that is not copied */
	uint64_t n;
};

static int visit_none(void *arg, uint64_t seq, uint64_t place,
	const uint8_t *payload, uint32_t len)
{
	(void)arg;
	(void)seq;
	(void)place;
	(void)payload;
	(void)len;
	return 0;
}

static int copy_record(void *arg, uint64_t seq, uint64_t place,
	const uint8_t *payload, uint32_t len)
{
	struct copy *c = arg;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)payload,
		.iov_len = len };
	int err = stream_append(c->to, &iov, 1, &seq, &place);

	c->n++;
	if (err == -ENOSPC)
		return fail(ENOSPC,
			"%s: no room for a copy of what was written to it",
			c->clone);
	return err;
}

/* What is in the stream of D and not copied yet. */
static int copy_more(struct repo *r, const struct clone_disk *d, struct copy *c)
{
	struct stream *from;
	int err = stream_peek(
		r->store, &d->stream, c->next, copy_record, c, &from);

	if (err < 0)
		return err;
	c->next = stream_next(from);
	stream_close(from);
	return 0;
}

/*
 * Of several disks what came meanwhile, too, until there is nothing: then no
 * disk was written to between the first look and the last of that round.
 */
static int copy_all(struct repo *r, const struct clone *c, struct copy *copies)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	size_t n = c->disks.n;
	int err = 0;

	for (int round = 0; err == 0 && round < ROUNDS; round++) {
		uint64_t fresh = 0;

		for (size_t i = 0; err == 0 && i < n; i++) {
			copies[i].n = 0;
			err = copy_more(r, &c->disks.v[i], &copies[i]);
			fresh += copies[i].n;
		}
		if (err < 0 || n == 1 || fresh == 0)
			return err;
		if (round > 0)
			nanosleep(&pause, NULL);
	}
	return err < 0 ? err
		       : fail(EBUSY,
				 "%s: its %zu disks are written to without a "
				 "pause, so they cannot be copied as they are "
				 "at one instant",
				 copies->clone, n);
}

static int copy_streams(struct repo *r, const struct clone *from,
	const struct clone *to, const struct stream_owner *us)
{
	scoped(freep) char *text = clone_text(from);
	struct copy *copies = calloc(from->disks.n + 1, sizeof(*copies));
	int err = copies && text ? 0 : fail(ENOMEM, "clone: %m");

	for (size_t i = 0; err == 0 && i < from->disks.n; i++) {
		copies[i].clone = text;
		copies[i].next = from->disks.v[i].from;
		err = stream_open(r->store, &to->disks.v[i].stream, 0, us,
			visit_none, NULL, &copies[i].to);
	}
	if (err == 0)
		err = copy_all(r, from, copies);
	for (size_t i = 0; copies && i < from->disks.n; i++) {
		if (err == 0)
			err = stream_sync(copies[i].to);
		if (copies[i].to)
			stream_close(copies[i].to);
	}
	free(copies);
	return err;
}

static int copy_disk(const struct clone_disk *from, struct clone *to)
{
	struct clone_disk d = *from;

	d.stream = uuid_random();
	d.from = 0;
	d.name = strdup(from->name);
	if (d.name && vec_add(&to->disks, d) == 0)
		return 0;
	free(d.name);
	return fail(ENOMEM, "clone: %m");
}

static int describe(
	const struct clone *from, const char *name, struct clone *to)
{
	int err = 0;

	to->name = strdup(name);
	to->machine = strdup(from->machine);
	to->base = from->base;
	to->created = time(NULL);
	to->config = from->config;
	if (!to->name || !to->machine)
		return fail(ENOMEM, "clone: %m");
	for (size_t i = 0; err == 0 && i < from->disks.n; i++)
		err = copy_disk(&from->disks.v[i], to);
	return err;
}

/*
 * As forking a point: what FROM reaches when it is read after registering is
 * safe from a collection until we sign off, though a fold lets go of it.
 */
static int insert(struct repo *r, const struct uuid *from, const char *name,
	struct clone *ret_from, struct clone *ret)
{
	struct clone c = { 0 }, old = { .id = clone_named_id(name) };
	struct clone now = { 0 };
	struct writer *w = NULL;
	int err = clone_read(r, &old.id, &old);

	if (err == -ENOENT)
		err = 0;
	else if (err == 0 && !old.discarded)
		err = fail(EEXIST, "%s: there is a clone of that name", name);
	c.id = old.id;
	c.version = old.version;
	if (err == 0)
		err = writer_begin(r, WRITER_CLONE, &c.id, c.version, &w);
	if (err == 0)
		err = clone_get(r, from, &now);
	if (err == 0)
		err = describe(&now, name, &c);
	if (err == 0)
		err = clone_for_us(&c);
	for (size_t i = 0; err == 0 && i < old.retired.n; i++)
		err = vec_add(&c.retired, old.retired.v[i]);
	if (err == 0)
		err = clone_swap(r, &c);
	if (w)
		writer_end(w);
	clone_fini(&old);
	if (err < 0) {
		clone_fini(&c);
		clone_fini(&now);
	} else {
		*ret = c;
		*ret_from = now;
	}
	return err;
}

/*
 * The document comes first, so that no stream is without one. Should we die
 * before the streams are filled, it is one that nobody uses.
 */
static int attempt(struct repo *r, const struct uuid *id, const char *name,
	const struct stream_owner *us, struct clone *ret)
{
	struct clone from, c;
	int err = insert(r, id, name, &from, &c);

	if (err < 0)
		return err;
	log_hold();
	err = clone_judge(r, &from, copy_streams(r, &from, &c, us));
	clone_fini(&from);
	if (err == 0) {
		*ret = c;
		return 0;
	}
	if (clone_discard(r, &c) < 0)
		log_debug("clone", "%s: was left behind", name);
	clone_fini(&c);
	return err;
}

int clone_branch_temporary(struct repo *r, const struct clone *from,
	const char *name, const struct stream_owner *us, struct clone *ret)
{
	int err = -ESTALE;

	for (int i = 0; err == -ESTALE && i < ATTEMPTS; i++)
		err = attempt(r, &from->id, name, us, ret);
	if (err == -ESTALE)
		return fail(EBUSY, "%s: was changed each time we looked",
			from->name ? from->name : from->machine);
	return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "tools/clone_arg.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "repo/address.h"
#include "src/log.h"
#include "src/process.h"
#include "src/text.h"
#include "tools/json.h"

#define RELEASE_MS 2000
#define PAUSE_MS 10

/* The own clone of a point that is gone: an rm that was under way when it was
 * forked, and a fork that was killed before it looked again. */
struct orphan {
	struct repo *repo;
	const char *text;
	struct uuid id;
};

static int visit_orphan(void *arg, const struct clone *c)
{
	struct orphan *o = arg;
	scoped(freep) char *text = c->name ? NULL : clone_text(c);
	struct point p;
	int err;

	if (!text || strcmp(text, o->text) != 0)
		return 0;
	err = point_get(o->repo, &c->base, &p);
	if (err == 0)
		point_fini(&p);
	if (err != -ENOENT)
		return 0;
	o->id = c->id;
	return 1;
}

static int find_own(struct repo *r, const char *text, struct clone *ret)
{
	struct orphan o = { .repo = r, .text = text };
	struct address a;
	struct uuid id;
	int err = clone_list(r, visit_orphan, &o);

	if (err == 1)
		return clone_get(r, &o.id, ret);
	err = address_resolve(r, text, &a);
	if (err < 0)
		return err;
	id = clone_own_id(&a.point.id);
	if (a.disk)
		err = fail(EINVAL,
			"%s: names one disk, but a clone is of all that its "
			"point has",
			text);
	address_fini(&a);
	if (err < 0)
		return err;
	err = clone_get(r, &id, ret);
	if (err == -ENOENT)
		return fail(ENOENT,
			"%s: nothing was written to this point, so it has no "
			"clone of its own; hivefs clones lists those there are",
			text);
	return err;
}

static bool is_alias(const char *text)
{
	return text[strspn(text, "0123456789abcdefABCDEF")] == 0;
}

int clone_arg_find(struct repo *r, const char *text, struct clone *ret)
{
	struct uuid id = clone_named_id(text);
	int err = name_ok(text) ? clone_get(r, &id, ret) : -ENOENT;

	if (err != -ENOENT)
		return err;
	if (strchr(text, '@') || is_alias(text))
		return find_own(r, text, ret);
	return fail(ENOENT,
		"%s: there is no clone of this name; hivefs clones lists them",
		text);
}

char *clone_arg_text(struct repo *r, const struct clone *c)
{
	struct point p;
	char *text;

	if (!c->name && point_get(r, &c->base, &p) == 0) {
		text = cli_address(r, &p);
		point_fini(&p);
	} else if (!(text = clone_text(c))) {
		cli_no_memory();
	}
	return text;
}

int clone_arg_owner(
	struct repo *r, const struct clone *c, struct stream_owner *ret)
{
	int err = -ENOENT;

	for (size_t i = 0; err == -ENOENT && i < c->disks.n; i++)
		err = stream_owner(r->store, &c->disks.v[i].stream, ret);
	return err;
}

int clone_arg_wait(
	struct repo *r, const struct clone *c, struct stream_owner *ret)
{
	const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
	int err = clone_arg_owner(r, c, ret);

	for (int ms = 0; err == 0 && clone_arg_is_here(ret) && ms < RELEASE_MS;
		ms += PAUSE_MS) {
		nanosleep(&pause, NULL);
		err = clone_arg_owner(r, c, ret);
	}
	return err;
}

bool clone_arg_is_here(const struct stream_owner *o)
{
	char host[PROCESS_HOST];

	process_host(host);
	return strcmp(o->host, host) == 0 && o->pid > 0 &&
	       (kill((pid_t)o->pid, 0) == 0 || errno == EPERM);
}

int clone_arg_busy(const char *text, const struct stream_owner *o)
{
	if (o->host[0] == 0)
		return fail(EBUSY, "%s: is in use by another process", text);
	return fail(EBUSY, "%s: is in use by %s, process %" PRId64 ", %s", text,
		o->host, o->pid, o->place);
}

struct stream_owner clone_arg_us(const struct cli *c)
{
	struct stream_owner us = { .pid = getpid() };

	process_host(us.host);
	snprintf(us.place, sizeof(us.place), "hivefs %s", c->verb->name);
	return us;
}

static int add_len(void *arg, uint64_t seq, uint64_t place,
	const uint8_t *payload, uint32_t len)
{
	(void)seq;
	(void)place;
	(void)payload;
	*(uint64_t *)arg += len;
	return 0;
}

static int sum_streams(struct repo *r, const struct clone *c, uint64_t *ret)
{
	int err = 0;

	*ret = 0;
	log_hold();
	for (size_t i = 0; err == 0 && i < c->disks.n; i++) {
		const struct clone_disk *d = &c->disks.v[i];
		struct stream *st;

		err = stream_peek(
			r->store, &d->stream, d->from, add_len, ret, &st);
		if (err == 0)
			stream_close(st);
	}
	return clone_judge(r, c, err);
}

int clone_arg_unfolded(struct repo *r, const struct clone *c, uint64_t *ret)
{
	uint64_t sum;
	int err = sum_streams(r, c, &sum);

	/* folded while we looked */
	while (err == -ESTALE) {
		struct clone now;

		err = clone_get(r, &c->id, &now);
		if (err < 0)
			break;
		err = sum_streams(r, &now, &sum);
		clone_fini(&now);
	}
	if (err == 0)
		*ret = sum;
	return err;
}

static json_t *disk_json(const struct clone_disk *d)
{
	char root[DIGEST_HEX];

	return json_pack("{s:o, s:o, s:i, s:s}", "name", json_text(d->name),
		"size", json_bytes(d->size), "sector_size", (int)d->sector_size,
		"root", digest_hex(&d->root, root));
}

json_t *clone_arg_json(struct repo *r, const struct clone *c)
{
	scoped(freep) char *text = clone_arg_text(r, c);
	struct stream_owner o;
	json_t *owner = json_null(), *disks = json_array();
	char base[ALIAS_LEN + 1], id[UUID_TEXT];

	for (size_t i = 0; i < c->disks.n; i++)
		json_array_append_new(disks, disk_json(&c->disks.v[i]));
	if (clone_arg_owner(r, c, &o) == 0)
		owner = json_pack("{s:o, s:I, s:o}", "host", json_text(o.host),
			"pid", (json_int_t)o.pid, "place", json_text(o.place));
	return json_pack(
		"{s:s, s:s, s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:b, s:o}",
		"type", "clone", "clone", text, "name",
		c->name ? json_string(c->name) : json_null(), "id",
		uuid_text(&c->id, id), "machine", c->machine, "base",
		point_alias(&c->base, base), "base_time",
		json_time(c->base.time), "created", json_time(c->created),
		"owner", owner, "temporary", (int)(c->process != NULL), "disks",
		disks);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "repo/clone.h"
#include "repo/label.h"
#include "repo/writer.h"
#include "src/log.h"
#include "src/process.h"

static int fill(const struct point *p, const char *name, struct clone *c)
{
	c->base = p->id;
	c->machine = strdup(p->machine);
	c->name = name ? strdup(name) : NULL;
	c->created = time(NULL);
	c->config = p->config;
	if (!c->machine || (name && !c->name))
		return fail(ENOMEM, "clone: %m");
	for (size_t i = 0; i < p->disks.n; i++) {
		const struct point_disk *from = &p->disks.v[i];
		struct clone_disk d = { .size = from->size,
			.sector_size = from->sector_size,
			.root = from->root,
			.data = from->stats.data,
			.lost = from->stats.lost,
			.stream = uuid_random() };

		d.name = strdup(from->name);
		if (!d.name || vec_add(&c->disks, d) < 0) {
			free(d.name);
			return fail(ENOMEM, "clone: %m");
		}
	}
	return 0;
}

int clone_for_us(struct clone *c)
{
	char process[PROCESS_TEXT], host[PROCESS_HOST];

	process_text(process);
	process_host(host);
	c->process = strdup(process);
	c->host = strdup(host);
	return c->process && c->host ? 0 : fail(ENOMEM, "clone: %m");
}

bool clone_is_abandoned(const struct clone *c)
{
	enum process_state state;
	char host[PROCESS_HOST];

	if (!c->process)
		return false;
	process_host(host);
	state = process_state(c->process);
	return state == PROCESS_DEAD ||
	       (state == PROCESS_OTHER_BOOT && strcmp(c->host, host) == 0);
}

/*
 * OLD is the document in the way, discarded, or of version 0 if there is none.
 * The point is read after registering: what it reaches then is safe from a
 * collection until we sign off.
 */
static int fork_over(struct repo *r, const struct point_id *point,
	const char *name, bool temporary, const struct clone *old,
	struct clone *ret)
{
	struct clone c = { .id = old->id, .version = old->version };
	struct writer *w;
	struct point p;
	int err = writer_begin(r, WRITER_CLONE, &c.id, c.version, &w);

	if (err < 0)
		return err;
	err = point_get(r, point, &p);
	if (err == 0) {
		err = fill(&p, name, &c);
		point_fini(&p);
	}
	if (err == 0 && temporary)
		err = clone_for_us(&c);
	for (size_t i = 0; err == 0 && i < old->retired.n; i++)
		err = vec_add(&c.retired, old->retired.v[i]);
	if (err == 0)
		err = clone_swap(r, &c);
	writer_end(w);
	if (err == 0 && !name) {
		err = point_keep(r, point);
		if (err == -ENOENT && clone_drop(r, &c) < 0)
			log_warn(
				"clone: of a point that was removed meanwhile");
	}
	if (err < 0)
		clone_fini(&c);
	else
		*ret = c;
	return err;
}

static int branch_off(struct repo *r, const struct point *p, const char *name,
	bool temporary, struct clone *ret)
{
	struct uuid id = name ? clone_named_id(name) : clone_own_id(&p->id);
	int err;

	do {
		struct clone old = { 0 };

		err = clone_read(r, &id, &old);
		if (err == 0 && !old.discarded) {
			if (!name) {
				*ret = old;
				return 0;
			}
			clone_fini(&old);
			return -EEXIST;
		}
		if (err == 0 || err == -ENOENT) {
			old.id = id;
			err = fork_over(r, &p->id, name, temporary, &old, ret);
		}
		clone_fini(&old);
	} while (err == -ESTALE);
	return err;
}

int clone_fork(struct repo *r, const struct point *p, const char *name,
	struct clone *ret)
{
	return branch_off(r, p, name, false, ret);
}

int clone_fork_temporary(struct repo *r, const struct point *p,
	const char *name, struct clone *ret)
{
	return branch_off(r, p, name, true, ret);
}

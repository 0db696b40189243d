/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/clone_whole.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "repo/damage.h"
#include "src/log.h"

static int load(struct damage *d, const struct quarantine *q)
{
	int err = 0;

	/* which of the two it was does not matter: no digest is both */
	for (size_t i = 0; err == 0 && i < q->n; i++) {
		err = damage_add(
			d, COLL_CHUNKS, &q->v[i].digest, DAMAGE_MISSING);
		if (err == 0)
			err = damage_add(
				d, COLL_MAPS, &q->v[i].digest, DAMAGE_MISSING);
	}
	return err;
}

#define DISK_NAME_MAX 128

struct first {
	bool any;
	char disk[DISK_NAME_MAX + 1];
	uint64_t off;
	struct digest digest;
	const char *what;
};

static void remember(void *arg, const struct verify_damage *v)
{
	struct first *f = arg;

	if (f->any || !v->digest)
		return;
	f->any = true;
	snprintf(f->disk, sizeof(f->disk), "%s", v->disk);
	f->off = v->off;
	f->digest = *v->digest;
	f->what = v->what;
}

static int report(struct repo *r, const struct clone *c, struct damage *d)
{
	struct damage_users users = { 0 };
	struct first first = { .any = false };
	struct verify job = { .repo = r, .damage = remember, .arg = &first };
	char hex[DIGEST_HEX];
	uint64_t n = 0;
	int err = 0;

	if (vec_add(&users.clones, c->id) < 0)
		return fail(ENOMEM, "commit: %m");
	err = damage_report(d, &job, &users, &n);
	vec_fini(&users.clones);
	if (err < 0 || n == 0)
		return err;
	return fail(EBADMSG,
		"disk %s: offset %" PRIu64 ": %s %.16s… was damaged and is in "
		"the quarantine%s: back the machine up again, which heals "
		"what is still the same, or write it anew",
		first.disk, first.off, first.what,
		digest_hex(&first.digest, hex), n > 1 ? ", and not alone" : "");
}

int clone_whole(
	struct repo *r, const struct clone *c, const struct quarantine *q)
{
	struct damage d;
	int err;

	if (q->n == 0)
		return 0;
	damage_init(&d);
	err = load(&d, q);
	if (err == 0)
		err = damage_recheck(&d, r);
	if (err == 0 && damage_any(&d))
		err = report(r, c, &d);
	damage_fini(&d);
	return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/quarantine.h"

#include <errno.h>

#include "repo/decode.h"
#include "src/log.h"

/* A scan goes in key order, so that the set comes sorted. */
static int add(void *arg, const struct doc *doc)
{
	struct quarantine *q = arg;
	struct quarantined d = { .version = doc->version };

	if (doc->key.len != sizeof(d.digest.b))
		return fail(EBADMSG, "quarantine: a key of %u bytes",
			(unsigned)doc->key.len);
	memcpy(d.digest.b, doc->key.b, sizeof(d.digest.b));
	return vec_add(q, d) < 0 ? fail(ENOMEM, "quarantine: %m") : 0;
}

int quarantine_load(struct repo *r, struct quarantine *ret)
{
	struct quarantine q = { 0 };
	int err =
		store_scan(r->store, COLL_QUARANTINE, NULL, SCAN_KEYS, add, &q);

	if (err < 0)
		quarantine_fini(&q);
	else
		*ret = q;
	return err;
}

static int order(const void *digest, const void *item)
{
	return memcmp(digest, ((const struct quarantined *)item)->digest.b,
		sizeof(struct digest));
}

const struct quarantined *quarantine_find(
	const struct quarantine *q, const struct digest *d)
{
	return q->n ? bsearch(d->b, q->v, q->n, sizeof(*q->v), order) : NULL;
}

bool quarantine_has(const struct quarantine *q, const struct digest *d)
{
	return quarantine_find(q, d) != NULL;
}

bool quarantine_was_damaged(struct repo *r, const struct digest *d)
{
	struct key key = key_of(d->b, sizeof(d->b));
	struct decode in;
	struct doc doc;
	bool missing;

	if (store_get(r->store, COLL_QUARANTINE, &key, &doc) < 0)
		return false;
	decode_begin(&in, &doc);
	missing = decode_bool(&in, "missing");
	doc_fini(&doc);
	return decode_end(&in, "quarantine") == 0 && !missing;
}

bool quarantine_grew(
	const struct quarantine *before, const struct quarantine *now)
{
	for (size_t i = 0; i < now->n; i++) {
		const struct quarantined *was =
			quarantine_find(before, &now->v[i].digest);

		if (!was || was->version != now->v[i].version)
			return true;
	}
	return false;
}

int quarantine_check(struct repo *r, const struct quarantine *before)
{
	struct quarantine now;
	int err = quarantine_load(r, &now);

	if (err < 0)
		return err;
	if (quarantine_grew(before, &now))
		err = -EAGAIN;
	quarantine_fini(&now);
	return err;
}

void quarantine_fini(struct quarantine *q)
{
	vec_fini(q);
}

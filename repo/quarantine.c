/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/quarantine.h"

#include <errno.h>

#include "src/log.h"

/* A scan goes in key order, so that the set comes sorted. */
static int add(void *arg, const struct doc *doc)
{
	struct quarantine *q = arg;
	struct digest d;

	if (doc->key.len != sizeof(d.b))
		return fail(EBADMSG, "quarantine: a key of %u bytes",
			(unsigned)doc->key.len);
	memcpy(d.b, doc->key.b, sizeof(d.b));
	return vec_add(q, d);
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

static int order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct digest));
}

bool quarantine_has(const struct quarantine *q, const struct digest *d)
{
	return q->n && bsearch(d, q->v, q->n, sizeof(*q->v), order);
}

void quarantine_fini(struct quarantine *q)
{
	vec_fini(q);
}

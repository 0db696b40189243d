/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/listing.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "src/bytes.h"
#include "src/log.h"

#define TRIES 40u
#define DISAGREE_MAX 3u
#define PAUSE_NS 25000000 /* so a second at most */

struct pass {
	struct keys *keys;
	struct store_count count;
};

static int visit_key(void *arg, const struct doc *doc)
{
	struct pass *p = arg;

	store_count_add(&p->count, doc);
	if (vec_add(p->keys, doc->key) < 0)
		return fail(ENOMEM, "listing: %m");
	return 0;
}

/* Bytes are left out: a scan of keys need not know them. */
static bool agree(const struct store_count *a, const struct store_count *b)
{
	return a->n == b->n && a->sum[0] == b->sum[0] && a->sum[1] == b->sum[1];
}

/* 0 they agree, 1 it changed meanwhile, 2 they disagree */
static int compare_once(
	struct store *s, enum coll c, struct keys *ret, uint64_t *ret_count)
{
	struct pass pass = { .keys = ret };
	struct store_count before, after;
	int r = store_count(s, c, &before);

	ret->n = 0;
	if (r == 0)
		r = store_scan(s, c, NULL, SCAN_KEYS, visit_key, &pass);
	if (r != 0)
		return r;
	*ret_count = before.n;
	if (agree(&pass.count, &before))
		return 0;
	r = store_count(s, c, &after);
	if (r != 0)
		return r;
	return agree(&before, &after) ? 2 : 1;
}

int listing_read(struct store *s, enum coll c, struct keys *ret)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	unsigned disagree = 0;
	uint64_t count = 0;

	for (unsigned i = 0; i < TRIES; i++) {
		int r = compare_once(s, c, ret, &count);

		if (r <= 0)
			return r;
		disagree += r == 2;
		if (disagree == DISAGREE_MAX)
			return fail(EBADMSG,
				"%s: the index lists %zu, but the store "
				"counts %" PRIu64
				", or they are others: run hivefs repair "
				"--index",
				coll_name(c), ret->n, count);
		nanosleep(&pause, NULL);
	}
	return 1;
}

int listing_check(struct store *s)
{
	static const enum coll colls[] = { COLL_MACHINES, COLL_POINTS,
		COLL_LABELS };
	struct keys keys = { 0 };
	int err = 0;

	for (size_t i = 0; i < N_ELEMS(colls); i++) {
		int r = listing_read(s, colls[i], &keys);

		if (r < 0 && err == 0)
			err = r;
	}
	vec_fini(&keys);
	return err;
}

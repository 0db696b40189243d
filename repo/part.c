/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/part.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "src/bytes.h"
#include "src/log.h"
#include "src/monotonic.h"
#include "src/pool.h"

#define AT_ONCE 128u
#define PAUSE_SECONDS 10

struct walk {
	struct part *part;
	unsigned first; /* of the parts of this round */
	time_t end;     /* of monotonic.h; 0: none */
};

/* Keys of one part, read when there are enough of them. */
struct batch {
	struct part *part;
	unsigned thread;
	unsigned n;
	struct key keys[AT_ONCE];
	struct doc heads[AT_ONCE]; /* without their bodies */
	struct doc docs[AT_ONCE];
	int errs[AT_ONCE];
};

static int visit_one(struct batch *b, unsigned i)
{
	struct doc *d = &b->docs[i];
	const struct doc *head = &b->heads[i];

	/* removed since it was listed */
	if (b->errs[i] == 0 && !d->body)
		return 0;
	return b->part->visit(
		b->part->arg, b->errs[i] ? head : d, b->errs[i], b->thread);
}

static int flush(struct batch *b)
{
	int r = 0;

	if (b->n)
		r = store_get_many(b->part->repo->store, COLL_CHUNKS, b->keys,
			b->n, b->docs, b->errs);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < b->n; i++) {
		if (r == 0)
			r = visit_one(b, i);
		if (b->errs[i] == 0)
			doc_fini(&b->docs[i]);
	}
	b->n = 0;
	return r;
}

static int add(void *arg, const struct doc *doc)
{
	struct batch *b = arg;

	b->keys[b->n] = doc->key;
	b->heads[b->n++] = *doc;
	return b->n < AT_ONCE ? 0 : flush(b);
}

static int walk_one(void *arg, uint64_t i, unsigned thread)
{
	struct walk *w = arg;
	struct part *p = w->part;
	uint8_t byte = p->bytes[w->first + i];
	struct key prefix = { .len = 1, .b = { byte } };
	struct batch *b;
	int r;

	if (w->end && (time_t)monotonic_seconds() >= w->end)
		return 0;
	b = malloc(sizeof(*b));
	if (!b)
		return fail(ENOMEM, "verify: %m");
	b->part = p;
	b->thread = thread;
	b->n = 0;
	r = store_scan(p->repo->store, COLL_CHUNKS, &prefix, SCAN_KEYS, add, b);
	if (r == 0)
		r = flush(b);
	free(b);
	p->done[byte] = r == 0;
	return r;
}

/* In rounds, so that what was done is known while there is more to do. */
int part_walk(struct part *p)
{
	struct walk w = { .part = p };
	unsigned round = MAX_OF(4 * p->n_threads, 16u);
	time_t paused = (time_t)monotonic_seconds();
	int r = 0;

	if (p->max_seconds)
		w.end = paused + (time_t)p->max_seconds;
	for (; r == 0 && w.first < p->n; w.first += round) {
		r = parallel_for(p->n_threads, MIN_OF(p->n - w.first, round),
			walk_one, &w);
		if (p->pause &&
			(time_t)monotonic_seconds() - paused >= PAUSE_SECONDS) {
			p->pause(p->arg);
			paused = (time_t)monotonic_seconds();
		}
	}
	return r;
}

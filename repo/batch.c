/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/batch.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "src/bytes.h"
#include "src/log.h"

#define DOCS_MAX 4096u
#define SLOTS (8 * DOCS_MAX) /* of the table of what waits: a quarter full */

/*
 * Those of one collection, in the order they came: each goes into a segment of
 * its own, so a request that alternates between two is one sync for each turn.
 */
struct part {
	unsigned n;
	struct doc docs[DOCS_MAX];
	uint32_t plain[DOCS_MAX];
	bool inserted[DOCS_MAX];
};

enum { PART_CHUNKS, PART_MAPS, N_PARTS };

struct batch {
	struct repo *repo;
	uint64_t generation;
	uint8_t *mem;
	size_t used, bound;
	struct part parts[N_PARTS];
	uint16_t slot[SLOTS]; /* 1 + part * DOCS_MAX + place; 0: free */
	struct batch_stats stats;
};

int batch_new(
	struct repo *r, uint64_t generation, size_t bound, struct batch **ret)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (b)
		b->mem = malloc(bound);
	if (!b || !b->mem) {
		free(b);
		return fail(ENOMEM, "backup: %m");
	}
	b->repo = r;
	b->generation = generation;
	b->bound = bound;
	*ret = b;
	return 0;
}

void batch_free(struct batch *b)
{
	free(b->mem);
	free(b);
}

static unsigned part_of(enum coll c)
{
	return c == COLL_CHUNKS ? PART_CHUNKS : PART_MAPS;
}

/* The place of a digest in the table: where it is, or where it would go. */
static uint16_t *find(
	const struct batch *b, enum coll c, const struct digest *d)
{
	size_t i = get_le32(d->b) % SLOTS;

	for (;; i = (i + 1) % SLOTS) {
		uint16_t s = b->slot[i];
		unsigned at = s - 1u;

		if (!s || (at / DOCS_MAX == part_of(c) &&
				  memcmp(b->parts[part_of(c)]
						  .docs[at % DOCS_MAX]
						  .key.b,
					  d->b, sizeof(d->b)) == 0))
			return (uint16_t *)(uintptr_t)&b->slot[i];
	}
}

bool batch_has(const struct batch *b, enum coll c, const struct digest *d)
{
	return *find(b, c, d) != 0;
}

int batch_room(struct batch *b, size_t max, uint8_t **ret)
{
	int r = 0;

	assert(max <= b->bound);
	if (b->parts[PART_CHUNKS].n == DOCS_MAX ||
		b->parts[PART_MAPS].n == DOCS_MAX || b->used + max > b->bound)
		r = batch_flush(b);
	if (r == 0)
		*ret = b->mem + b->used;
	return r;
}

int batch_add(struct batch *b, enum coll c, const struct digest *d,
	uint32_t len, uint32_t plain)
{
	struct part *p = &b->parts[part_of(c)];
	uint16_t *slot = find(b, c, d);

	if (*slot)
		return 0;
	assert(p->n < DOCS_MAX && b->used + len <= b->bound);
	p->docs[p->n] = (struct doc){ .coll = c,
		.key = key_of(d->b, sizeof(d->b)),
		.version = random_u64(),
		.generation = b->generation,
		.body = b->mem + b->used,
		.len = len };
	p->plain[p->n] = plain;
	b->used += len;
	*slot = (uint16_t)(1 + part_of(c) * DOCS_MAX + p->n++);
	return 0;
}

static void count(struct batch *b, const struct part *p)
{
	for (unsigned i = 0; i < p->n; i++) {
		if (!p->inserted[i])
			continue;
		b->stats.stored += p->docs[i].len;
		if (p->docs[i].coll == COLL_CHUNKS) {
			b->stats.n_chunks++;
			b->stats.plain += p->plain[i];
		} else {
			b->stats.n_maps++;
		}
	}
}

int batch_flush(struct batch *b)
{
	for (unsigned i = 0; i < N_PARTS; i++) {
		struct part *p = &b->parts[i];
		int r = p->n == 0 ? 0
				  : store_insert_many(b->repo->store, p->docs,
					    p->n, p->inserted);

		if (r < 0)
			return r;
	}
	for (unsigned i = 0; i < N_PARTS; i++) {
		count(b, &b->parts[i]);
		b->parts[i].n = 0;
	}
	b->used = 0;
	memset(b->slot, 0, sizeof(b->slot));
	return 0;
}

struct batch_stats batch_take_stats(struct batch *b)
{
	struct batch_stats s = b->stats;

	memset(&b->stats, 0, sizeof(b->stats));
	return s;
}

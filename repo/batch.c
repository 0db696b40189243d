/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/batch.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "src/bytes.h"
#include "src/log.h"

#define DOCS_MAX 4096u
#define SLOTS (4 * DOCS_MAX) /* of the table of what waits: a quarter full */

struct batch {
	struct repo *repo;
	uint64_t generation;
	uint8_t *mem;
	size_t used, bound;
	unsigned n;
	struct doc docs[DOCS_MAX];
	uint32_t plain[DOCS_MAX];
	bool inserted[DOCS_MAX];
	uint16_t slot[SLOTS]; /* 1 + place in docs; 0: free */
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

/* The place of a digest in the table: where it is, or where it would go. */
static uint16_t *find(
	const struct batch *b, enum coll c, const struct digest *d)
{
	size_t i = get_le32(d->b) % SLOTS;

	for (;; i = (i + 1) % SLOTS) {
		uint16_t s = b->slot[i];
		const struct doc *doc = s ? &b->docs[s - 1] : NULL;

		if (!doc || (doc->coll == c && memcmp(doc->key.b, d->b,
						       sizeof(d->b)) == 0))
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
	if (b->n == DOCS_MAX || b->used + max > b->bound)
		r = batch_flush(b);
	if (r == 0)
		*ret = b->mem + b->used;
	return r;
}

int batch_add(struct batch *b, enum coll c, const struct digest *d,
	uint32_t len, uint32_t plain)
{
	uint16_t *slot = find(b, c, d);

	if (*slot)
		return 0;
	assert(b->n < DOCS_MAX && b->used + len <= b->bound);
	b->docs[b->n] = (struct doc){ .coll = c,
		.key = key_of(d->b, sizeof(d->b)),
		.version = random_u64(),
		.generation = b->generation,
		.body = b->mem + b->used,
		.len = len };
	b->plain[b->n] = plain;
	b->used += len;
	*slot = (uint16_t)++b->n;
	return 0;
}

static void count(struct batch *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		if (!b->inserted[i])
			continue;
		b->stats.stored += b->docs[i].len;
		if (b->docs[i].coll == COLL_CHUNKS) {
			b->stats.n_chunks++;
			b->stats.plain += b->plain[i];
		} else {
			b->stats.n_maps++;
		}
	}
}

int batch_flush(struct batch *b)
{
	int r = 0;

	if (b->n)
		r = store_insert_many(
			b->repo->store, b->docs, b->n, b->inserted);
	if (r < 0)
		return r;
	count(b);
	b->n = 0;
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

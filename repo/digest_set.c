/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/digest_set.h"

#include <errno.h>

#include "src/bytes.h"
#include "src/log.h"

void digest_set_fini(struct digest_set *s)
{
	vec_fini(&s->items);
	free(s->slots);
	s->slots = NULL;
	s->n_slots = 0;
}

/* Digests are uniform already. The slot that holds D, or the free one for it.
 */
static uint32_t *slot_of(const struct digest_set *s, const struct digest *d)
{
	size_t i = get_le64(d->b) & (s->n_slots - 1);

	while (s->slots[i] &&
		!digest_eq(&s->items.v[s->slots[i] - 1].digest, d))
		i = (i + 1) & (s->n_slots - 1);
	return &s->slots[i];
}

struct digest_flags *digest_set_find(
	const struct digest_set *s, const struct digest *d)
{
	uint32_t i = s->n_slots ? *slot_of(s, d) : 0;

	return i ? &s->items.v[i - 1] : NULL;
}

/* At most two thirds are taken. */
static int grow(struct digest_set *s)
{
	size_t n = s->n_slots ? s->n_slots * 2 : 64;
	uint32_t *slots;

	if (s->items.n + 1 <= s->n_slots / 3 * 2)
		return 0;
	slots = s->items.n < UINT32_MAX / 2 ? calloc(n, sizeof(*slots)) : NULL;
	if (!slots)
		return fail(ENOMEM, "set of %zu digests: %m", s->items.n);
	free(s->slots);
	s->slots = slots;
	s->n_slots = n;
	for (size_t i = 0; i < s->items.n; i++)
		*slot_of(s, &s->items.v[i].digest) = (uint32_t)i + 1;
	return 0;
}

int digest_set_add(struct digest_set *s, const struct digest *d, uint8_t flags)
{
	struct digest_flags item = { .digest = *d, .flags = flags };
	struct digest_flags *old = digest_set_find(s, d);
	int r;

	if (old) {
		old->flags |= flags;
		return 0;
	}
	r = grow(s);
	if (r < 0)
		return r;
	if (vec_add(&s->items, item) < 0)
		return fail(ENOMEM, "set of %zu digests: %m", s->items.n);
	*slot_of(s, d) = (uint32_t)s->items.n;
	return 1;
}

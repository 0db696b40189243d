/* SPDX-License-Identifier: Apache-2.0 */
#include "src/extent_list.h"

#include "src/bytes.h"

static uint64_t end_of(const struct extent_list *l)
{
	return l->runs.n ? l->runs.v[l->runs.n - 1].end : l->start;
}

int extent_list_add(struct extent_list *l, uint64_t len, enum blk_kind kind)
{
	struct extent_run run = { .end = end_of(l) + len, .kind = kind };

	if (l->runs.n && l->runs.v[l->runs.n - 1].kind == kind) {
		l->runs.v[l->runs.n - 1].end = run.end;
		return 0;
	}
	return l->runs.n < EXTENT_LIST_MAX ? vec_add(&l->runs, run) : 0;
}

bool extent_list_find(const struct extent_list *l, uint64_t off, uint64_t len,
	struct blk_extent *ret)
{
	size_t low = 0;
	size_t high = l->runs.n;

	if (off < l->start || off >= end_of(l))
		return false;
	/* the first run that ends behind OFF */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (l->runs.v[mid].end <= off)
			low = mid + 1;
		else
			high = mid;
	}
	ret->kind = l->runs.v[low].kind;
	ret->len = MIN_OF(len, l->runs.v[low].end - off);
	return true;
}

void extent_list_fini(struct extent_list *l)
{
	vec_fini(&l->runs);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/present.h"

#include <errno.h>
#include <stdlib.h>

#include "src/log.h"

int present_new(uint64_t n_blocks, struct present **ret)
{
	uint64_t words = n_blocks / 64 + 1;
	struct present *p;

	if (n_blocks > PRESENT_MAX)
		return -EFBIG;
	p = calloc(1, sizeof(*p));
	if (p) {
		p->n_blocks = n_blocks;
		p->bits = calloc(words, sizeof(*p->bits));
		p->before = calloc(words, sizeof(*p->before));
	}
	if (!p || !p->bits || !p->before) {
		if (p)
			present_free(p);
		return fail(ENOMEM, "blocks of a disk: %m");
	}
	*ret = p;
	return 0;
}

void present_free(struct present *p)
{
	free(p->bits);
	free(p->before);
	free(p);
}

void present_set(struct present *p, uint64_t block)
{
	p->bits[block / 64] |= UINT64_C(1) << block % 64;
}

void present_count(struct present *p)
{
	p->n = 0;
	for (uint64_t i = 0; i < p->n_blocks / 64 + 1; i++) {
		p->before[i] = (uint32_t)p->n;
		p->n += (uint64_t)__builtin_popcountll(p->bits[i]);
	}
}

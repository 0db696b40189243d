/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/mongo_silence.h"

#include <string.h>

#include "repo/mongo.h"
#include "src/monotonic.h"

void silences_init(struct silences *s)
{
	pthread_mutex_init(&s->lock, NULL);
}

void silences_fini(struct silences *s)
{
	vec_fini(&s->seen);
	pthread_mutex_destroy(&s->lock);
}

/* Lock held; NULL: there is no memory. */
static struct silence *find(struct silences *s, const struct uuid *id)
{
	for (size_t i = 0; i < s->seen.n; i++)
		if (memcmp(s->seen.v[i].id.b, id->b, sizeof(id->b)) == 0)
			return &s->seen.v[i];
	if (vec_add(&s->seen, (struct silence){ .id = *id }) < 0)
		return NULL;
	return &s->seen.v[s->seen.n - 1];
}

int64_t silence_ms(struct silences *s, const struct uuid *id, uint64_t who,
	uint64_t number)
{
	int64_t now = monotonic_ms(), ms = 0;
	struct silence *one;

	pthread_mutex_lock(&s->lock);
	one = find(s, id);
	if (one && one->who == who && one->number == number)
		ms = now - one->since;
	else if (one)
		*one = (struct silence){ *id, who, number, now };
	pthread_mutex_unlock(&s->lock);
	return ms;
}

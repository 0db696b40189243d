/* SPDX-License-Identifier: Apache-2.0 */
#include "src/rate.h"

#include "src/monotonic.h"

void rate_init(struct rate *r, uint64_t per_second)
{
	r->per_second = per_second;
	r->next = 0;
	pthread_mutex_init(&r->lock, NULL);
}

void rate_fini(struct rate *r)
{
	pthread_mutex_destroy(&r->lock);
}

double rate_take(struct rate *r, uint64_t len)
{
	double now, until;

	if (r->per_second == 0)
		return 0;
	now = monotonic_seconds();
	pthread_mutex_lock(&r->lock);
	if (r->next < now)
		r->next = now;
	r->next += (double)len / (double)r->per_second;
	until = r->next;
	pthread_mutex_unlock(&r->lock);
	return until;
}

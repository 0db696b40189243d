/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/mongo_groups.h"

#include <assert.h>
#include <errno.h>

#include "src/bytes.h"
#include "src/log.h"

void groups_init(struct groups *s)
{
	pthread_mutex_init(&s->lock, NULL);
}

void groups_fini(struct groups *s)
{
	for (size_t i = 0; i < s->v.n; i++) {
		group_fini(&s->v.v[i]->g);
		free(s->v.v[i]);
	}
	vec_fini(&s->v);
	pthread_mutex_destroy(&s->lock);
}

/* Lock held, for all that follow. */
static void cache_out(struct groups *s, struct held *h)
{
	if (h->older)
		h->older->newer = h->newer;
	else if (s->oldest == h)
		s->oldest = h->newer;
	if (h->newer)
		h->newer->older = h->older;
	else if (s->newest == h)
		s->newest = h->older;
	h->older = h->newer = NULL;
	s->cached -= h->g.len;
}

static void cache_in(struct groups *s, struct held *h)
{
	h->older = s->newest;
	if (s->newest)
		s->newest->newer = h;
	else
		s->oldest = h;
	s->newest = h;
	s->cached += h->g.len;
	while (s->cached > GROUPS_CACHE && s->oldest != h) {
		struct held *old = s->oldest;

		cache_out(s, old);
		group_fini(&old->g);
	}
}

int groups_add(struct groups *s, struct group *g)
{
	struct held *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return fail(ENOMEM, "stream: %m");
	h->g = *g;
	h->sent = true;
	free(take(h->g.lens));
	pthread_mutex_lock(&s->lock);
	assert(s->n_sent == s->v.n);
	r = vec_add(&s->v, h);
	if (r == 0) {
		s->n_sent++;
		s->bytes += h->g.len;
		cache_in(s, h);
		g->lens = g->data = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	if (r < 0) {
		g->lens = NULL;
		free(h);
		return fail(ENOMEM, "stream: %m");
	}
	return 0;
}

static struct held *new_group(
	struct groups *s, uint64_t seq, uint64_t place, uint64_t by)
{
	struct held *h = calloc(1, sizeof(*h));

	if (h)
		h->g = (struct group){ .kind = STREAM_DATA,
			.seq = seq,
			.place = place,
			.by = by };
	if (h && vec_add(&s->v, h) < 0)
		free(take(h));
	return h;
}

/* Room grows by doubling, so that small records do not copy it each time. */
static bool grow(struct group *g, uint32_t len)
{
	uint32_t cap = 4096, want = g->len + len;
	void *p;

	if (!g->lens && !(g->lens = malloc(4 * (size_t)GROUP_RECORDS)))
		return false;
	while (cap < want)
		cap *= 2;
	if (g->data && g->len > cap / 2)
		return true;
	p = realloc(g->data, cap);
	if (p)
		g->data = p;
	return p;
}

int groups_append(struct groups *s, uint64_t seq, uint64_t place, uint64_t by,
	const struct iovec *iov, int n_iov, uint32_t len, bool may_join)
{
	struct held *h;
	int r = 0;

	pthread_mutex_lock(&s->lock);
	h = s->v.n > s->n_sent + !may_join ? s->v.v[s->v.n - 1] : NULL;
	if (h && (h->g.n == GROUP_RECORDS || h->g.len + len > GROUP_BYTES))
		h = NULL;
	if (!h)
		h = new_group(s, seq, place, by);
	if (!h || !grow(&h->g, len)) {
		r = fail(ENOMEM, "stream: %m");
		if (h && h->g.n == 0) {
			group_fini(&h->g);
			free(h);
			s->v.n--;
		}
	} else {
		put_le32(h->g.lens + 4 * (size_t)h->g.n++, len);
		for (int i = 0; i < n_iov; i++) {
			memcpy(h->g.data + h->g.len, iov[i].iov_base,
				iov[i].iov_len);
			h->g.len += (uint32_t)iov[i].iov_len;
		}
		s->bytes += len;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

const struct group *groups_unsent(struct groups *s)
{
	const struct group *g = NULL;

	pthread_mutex_lock(&s->lock);
	if (s->n_sent < s->v.n)
		g = &s->v.v[s->n_sent]->g;
	pthread_mutex_unlock(&s->lock);
	return g;
}

void groups_sent(struct groups *s)
{
	struct held *h;

	pthread_mutex_lock(&s->lock);
	h = s->v.v[s->n_sent++];
	h->sent = true;
	free(take(h->g.lens));
	cache_in(s, h);
	pthread_mutex_unlock(&s->lock);
}

uint64_t groups_waiting(struct groups *s)
{
	uint64_t sum = 0;

	pthread_mutex_lock(&s->lock);
	for (size_t i = s->n_sent; i < s->v.n; i++)
		sum += s->v.v[i]->g.len;
	pthread_mutex_unlock(&s->lock);
	return sum;
}

/* The last that begins at PLACE or before; NULL: none. */
static struct held *at_place(const struct groups *s, uint64_t place)
{
	size_t low = 0, high = s->v.n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (s->v.v[mid]->g.place <= place)
			low = mid + 1;
		else
			high = mid;
	}
	/* empty ones begin where the next does */
	return low ? s->v.v[low - 1] : NULL;
}

int groups_read(struct groups *s, uint64_t place, uint8_t *buf, size_t len,
	uint64_t *ret_seq)
{
	int r = 0;

	pthread_mutex_lock(&s->lock);
	while (len > 0 && r == 0) {
		struct held *h = at_place(s, place);
		uint64_t off = h ? place - h->g.place : 0;
		size_t n;

		if (!h || off >= h->g.len) {
			r = -ENOENT;
		} else if (!h->g.data) {
			*ret_seq = h->g.seq;
			r = 1;
		} else {
			n = MIN_OF(len, (size_t)(h->g.len - off));
			memcpy(buf, h->g.data + off, n);
			buf += n;
			place += n;
			len -= n;
		}
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

static struct held *with_seq(const struct groups *s, uint64_t seq)
{
	size_t low = 0, high = s->v.n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (s->v.v[mid]->g.seq < seq)
			low = mid + 1;
		else
			high = mid;
	}
	return low < s->v.n && s->v.v[low]->g.seq == seq ? s->v.v[low] : NULL;
}

void groups_fill(struct groups *s, struct group *g)
{
	struct held *h;

	pthread_mutex_lock(&s->lock);
	h = with_seq(s, g->seq);
	if (h && !h->g.data && h->g.len == g->len) {
		h->g.data = take(g->data);
		cache_in(s, h);
	}
	pthread_mutex_unlock(&s->lock);
	group_fini(g);
}

uint64_t groups_boundary(struct groups *s, uint64_t seq)
{
	uint64_t found = seq;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->v.n; i++) {
		const struct held *h = s->v.v[i];

		if (!h->sent || group_next(&h->g) > seq) {
			found = MIN_OF(seq, h->g.seq);
			break;
		}
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}

void groups_trim(struct groups *s, uint64_t boundary)
{
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	while (n < s->n_sent && group_next(&s->v.v[n]->g) <= boundary) {
		struct held *h = s->v.v[n++];

		s->bytes -= h->g.len;
		if (h->g.data)
			cache_out(s, h);
		group_fini(&h->g);
		free(h);
	}
	memmove(s->v.v, s->v.v + n, (s->v.n - n) * sizeof(*s->v.v));
	s->v.n -= n;
	s->n_sent -= n;
	pthread_mutex_unlock(&s->lock);
}

uint64_t groups_bytes(struct groups *s)
{
	uint64_t bytes;

	pthread_mutex_lock(&s->lock);
	bytes = s->bytes;
	pthread_mutex_unlock(&s->lock);
	return bytes;
}

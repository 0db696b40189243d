/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This is CLOCK with addresses for its order. A hand that reclaims neighbours
 * makes room for any size without moving anything. What is left over of a
 * reclaimed slot is where the hand stands next; only in front of a slot that
 * was skipped does a gap remain, until the hand comes by again.
 */
#include "repo/arena.h"

#include "src/bytes.h"

/* A reader that kept a pointer too long shall be seen by AddressSanitizer. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WATCHED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(WATCHED)
#include <sanitizer/asan_interface.h>
#define FORBID(p, len) ASAN_POISON_MEMORY_REGION(p, len)
#define ALLOW(p, len) ASAN_UNPOISON_MEMORY_REGION(p, len)
#else
#define FORBID(p, len) ((void)(p), (void)(len))
#define ALLOW(p, len) ((void)(p), (void)(len))
#endif

#define SLOT_UNIT 64u /* a cache line */

void arena_init(struct arena *a, void *base, size_t size)
{
	*a = (struct arena){ .base = base, .size = size };
	a->head.prev = a->head.next = a->hand = &a->head;
	FORBID(base, size);
}

void arena_fini(struct arena *a)
{
	ALLOW(a->base, a->size);
}

static size_t place(const struct arena *a, const struct slot *s)
{
	return (size_t)((const uint8_t *)s - a->base);
}

/*
 * Acquire: whoever gave the last reference back has read what will now be
 * overwritten. None can be added meanwhile: that takes the caller's lock.
 */
static bool pinned(const struct slot *s)
{
	return atomic_load_explicit(&s->refs, memory_order_acquire) > 1;
}

/* Puts a slot at START, in place of those it overlaps from S on. */
static struct slot *settle(struct arena *a, size_t start, size_t size,
	struct slot *s, arena_drop drop, void *arg)
{
	struct slot *fresh = (struct slot *)(void *)(a->base + start);

	while (s != &a->head && place(a, s) < start + size) {
		struct slot *next = s->next;

		s->prev->next = next;
		next->prev = s->prev;
		a->bytes -= s->size;
		drop(arg, s);
		FORBID(s, s->size);
		s = next;
	}
	ALLOW(fresh, size);
	*fresh = (struct slot){
		.prev = s->prev, .next = s, .size = size, .refs = 2
	};
	s->prev->next = fresh;
	s->prev = fresh;
	a->bytes += size;
	a->at = start + size;
	a->hand = s;
	return fresh;
}

struct slot *arena_take(
	struct arena *a, size_t size, arena_drop drop, void *arg)
{
	struct slot *s = a->hand;
	size_t start = a->at;
	unsigned wraps = 0;

	size = round_up(size, SLOT_UNIT);
	if (size > a->size)
		return NULL;
	/* the second time round nothing is `used` any more */
	while (wraps < 3) {
		struct slot *x = s;
		size_t end;

		while (x != &a->head && place(a, x) - start < size &&
			!x->used && !pinned(x))
			x = x->next;
		end = x == &a->head ? a->size : place(a, x);
		if (end - start >= size)
			return settle(a, start, size, s, drop, arg);
		if (x == &a->head) {
			wraps++;
			start = 0;
			s = a->head.next;
		} else {
			x->used = false;
			start = place(a, x) + x->size;
			s = x->next;
		}
	}
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/mapbuild.h"

#include <errno.h>
#include <string.h>

#include "repo/fetch.h"
#include "src/log.h"

/* One node of the parent per level: windows come in rising order. */
struct base_node {
	bool known;
	uint64_t index;
	uint32_t len; /* 0: absent or unreadable */
	uint8_t packed[MAP_PACKED_MAX];
};

struct map_base {
	struct repo *repo;
	struct digest root;
	unsigned root_level;
	int err; /* the first that reading one met */
	struct base_node node[MAP_LEVELS_MAX]; /* of levels 1 and up */
};

int map_base_new(struct repo *r, const struct digest *root, uint64_t size,
	struct map_base **ret)
{
	struct map_base *b = calloc(1, sizeof(*b));

	if (!b)
		return fail(ENOMEM, "backup: %m");
	b->repo = r;
	b->root = *root;
	b->root_level = map_root_level(size);
	*ret = b;
	return 0;
}

void map_base_free(struct map_base *b)
{
	free(b);
}

static const struct base_node *base_node(
	struct map_base *b, unsigned level, uint64_t index)
{
	struct base_node *n = &b->node[level];
	struct digest d;
	int err = 0;

	if (n->known && n->index == index)
		return n;
	d = map_base_digest(b, level, index);
	n->known = true;
	n->index = index;
	n->len = 0;
	if (!digest_is_none(&d))
		err = map_load(b->repo, &d, level, n->packed, &n->len);
	if (b->err == 0)
		b->err = err;
	return n;
}

struct digest map_base_digest(
	struct map_base *b, unsigned level, uint64_t index)
{
	static const struct digest none;
	const struct base_node *up;

	if (level > b->root_level)
		return none;
	if (level == b->root_level)
		return index == 0 ? b->root : none;
	up = base_node(b, level + 1, index / MAP_FAN);
	return up->len ? node_child(up->packed, index % MAP_FAN) : none;
}

int map_base_error(const struct map_base *b)
{
	return b->err;
}

struct open_node {
	bool open;
	uint64_t index;
	struct digest child[MAP_FAN];
};

struct map_builder {
	unsigned root_level;
	bool keep; /* what is not added is as in the base */
	struct map_base *base;
	const struct quarantine *quarantine;
	struct writer *writer;
	struct batch *batch;
	struct digest root;
	struct open_node node[MAP_LEVELS_MAX]; /* of levels 1 and up */
};

int map_builder_new(uint64_t size, bool keep, struct map_base *base,
	const struct quarantine *q, struct writer *w, struct batch *batch,
	struct map_builder **ret)
{
	struct map_builder *m = calloc(1, sizeof(*m));

	if (!m)
		return fail(ENOMEM, "backup: %m");
	m->root_level = map_root_level(size);
	m->keep = keep;
	m->base = base;
	if (keep)
		m->root = map_base_digest(base, m->root_level, 0);
	m->quarantine = q;
	m->writer = w;
	m->batch = batch;
	*ret = m;
	return 0;
}

void map_builder_free(struct map_builder *m)
{
	free(m);
}

static int put_node(struct map_builder *m, unsigned level, uint64_t index,
	const uint8_t *packed, uint32_t len, struct digest *ret)
{
	struct digest old = map_base_digest(m->base, level, index);
	uint8_t *room;
	int err;

	*ret = digest_of(packed, len);
	if (!m->batch ||
		(digest_eq(ret, &old) && !quarantine_has(m->quarantine, ret)))
		return 0;
	err = writer_rely(m->writer, ret, 1);
	if (err == 0)
		err = batch_room(m->batch, MAP_PACKED_MAX + 64, &room);
	if (err < 0)
		return err;
	return batch_add(
		m->batch, COLL_MAPS, ret, map_body(packed, len, room), 0);
}

static int add(struct map_builder *m, unsigned level, uint64_t index,
	const struct digest *d);

static int close_node(struct map_builder *m, unsigned level)
{
	struct open_node *n = &m->node[level];
	uint8_t packed[MAP_PACKED_MAX];
	struct digest d = { 0 };
	uint32_t len;
	int err;

	if (!n->open)
		return 0;
	n->open = false;
	len = node_pack(level, n->child, packed);
	err = len ? put_node(m, level, n->index, packed, len, &d) : 0;
	return err < 0 ? err : add(m, level, n->index, &d);
}

static void open_node(struct map_builder *m, unsigned level, uint64_t index)
{
	struct open_node *n = &m->node[level];

	memset(n->child, 0, sizeof(n->child));
	n->open = true;
	n->index = index;
	for (unsigned i = 0; m->keep && i < MAP_FAN; i++)
		n->child[i] = map_base_digest(
			m->base, level - 1, index * MAP_FAN + i);
}

/* The map of LEVEL at INDEX is D: enters it into the node above. */
static int add(struct map_builder *m, unsigned level, uint64_t index,
	const struct digest *d)
{
	struct open_node *up = &m->node[level + 1];
	int err;

	if (level == m->root_level) {
		m->root = *d;
		return 0;
	}
	if (up->open && up->index != index / MAP_FAN) {
		err = close_node(m, level + 1);
		if (err < 0)
			return err;
	}
	if (!up->open)
		open_node(m, level + 1, index / MAP_FAN);
	up->child[index % MAP_FAN] = *d;
	return 0;
}

int map_builder_add(
	struct map_builder *m, uint64_t window, const struct digest *leaf)
{
	if (digest_is_none(leaf) && !m->keep)
		return 0;
	return add(m, 0, window, leaf);
}

int map_builder_finish(struct map_builder *m, struct digest *ret_root)
{
	int err = 0;

	for (unsigned level = 1; err == 0 && level <= m->root_level; level++)
		err = close_node(m, level);
	if (err == 0)
		*ret_root = m->root;
	return err;
}

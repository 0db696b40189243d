/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page: its number (8 bytes), 2 of padding, flags (2), then the end of the
 * offsets of its nodes and the begin of the nodes (2 each) or, of an overflow
 * page, how many pages it takes (4); from byte 16 on the offsets, 2 each. A
 * node: 4 bytes of length or, with the next two, a page number; flags (2);
 * length of its key (2); the key; the value or the number of its overflow page.
 * The first two pages have the state: see META_.
 */
#define _GNU_SOURCE
#include "repo/index_pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "repo/index_db.h"
#include "src/bytes.h"
#include "src/log.h"

#define PAGE_HEADER 16u
#define PAGE_BRANCH 1
#define PAGE_LEAF 2
#define PAGE_OVERFLOW 4
#define NODE_HEADER 8u
#define NODE_OVERFLOW 1
#define NODE_TREE 2
#define META_PAGES 2
#define META_FREE_ROOT 80
#define META_MAIN_ROOT 128
#define META_TXN 144
#define TREE_LEN 48 /* what names a database's tree */
#define TREE_ROOT 40
#define NO_PAGE UINT64_MAX
#define DEPTH_MAX 32 /* LMDB's own */
#define MAP_MIN ((size_t)1 << 20)

struct node {
	const uint8_t *b;
	size_t key_len;
	size_t len; /* of its value */
	unsigned flags;
};

static int damaged(const struct index *ix)
{
	return index_damaged(ix, "a page makes no sense");
}

static const uint8_t *page_of(const struct index_pages *p, uint64_t no)
{
	return p->map + no * p->page_len;
}

static unsigned page_flags(const uint8_t *page)
{
	return get_le16(page + 10);
}

static unsigned n_nodes(const uint8_t *page)
{
	return (get_le16(page + 12) - PAGE_HEADER) / 2;
}

static struct node node_of(const uint8_t *page, unsigned i)
{
	const uint8_t *b = page + get_le16(page + PAGE_HEADER + 2 * (size_t)i);

	return (struct node){ .b = b,
		.key_len = get_le16(b + 6),
		.len = get_le32(b),
		.flags = get_le16(b + 4) };
}

static const uint8_t *node_value(const struct node *n)
{
	return n->b + NODE_HEADER + n->key_len;
}

static uint64_t node_child(const struct node *n)
{
	return n->len | (uint64_t)n->flags << 32;
}

/* Room it takes; all nodes begin at even offsets. */
static size_t node_room(const uint8_t *page, const struct node *n)
{
	size_t len = NODE_HEADER + n->key_len;

	if (page_flags(page) == PAGE_LEAF)
		len += n->flags & NODE_OVERFLOW ? 8 : n->len;
	return (len + 1) & ~(size_t)1;
}

static bool overflow_makes_sense(
	const struct index_pages *p, const struct node *n)
{
	uint64_t no = get_le64(node_value(n));
	const uint8_t *page;
	uint64_t pages;

	if (no < META_PAGES || no >= p->n)
		return false;
	page = page_of(p, no);
	pages = get_le32(page + 12);
	return get_le64(page) == no && page_flags(page) == PAGE_OVERFLOW &&
	       pages <= p->n - no &&
	       PAGE_HEADER + (uint64_t)n->len <= pages * p->page_len;
}

static bool nodes_make_sense(const struct index_pages *p, const uint8_t *page)
{
	size_t begin = get_le16(page + 14);
	size_t room = 0;

	for (unsigned i = 0; i < n_nodes(page); i++) {
		size_t off = get_le16(page + PAGE_HEADER + 2 * (size_t)i);
		struct node n;
		size_t len;

		if (off < begin || off % 2 != 0 ||
			off > p->page_len - NODE_HEADER)
			return false;
		n = node_of(page, i);
		len = node_room(page, &n);
		if (len > p->page_len - off)
			return false;
		room += len;
		if (page_flags(page) == PAGE_BRANCH) {
			if (node_child(&n) < META_PAGES ||
				node_child(&n) >= p->n)
				return false;
		} else if (n.flags & ~(NODE_OVERFLOW | NODE_TREE) ||
			   (n.flags & NODE_OVERFLOW &&
				   !overflow_makes_sense(p, &n))) {
			return false;
		}
	}
	return room <= p->page_len - begin;
}

static bool page_makes_sense(const struct index_pages *p, uint64_t no)
{
	const uint8_t *page = page_of(p, no);
	unsigned end = get_le16(page + 12);
	unsigned begin = get_le16(page + 14);

	return get_le64(page) == no &&
	       (page_flags(page) == PAGE_BRANCH ||
		       page_flags(page) == PAGE_LEAF) &&
	       end > PAGE_HEADER && end % 2 == 0 && end <= begin &&
	       begin <= p->page_len && nodes_make_sense(p, page);
}

/* The page of that number, if it makes sense. */
static int page_get(struct index *ix, uint64_t no, const uint8_t **ret)
{
	struct index_pages *p = &ix->pages;

	if (no < META_PAGES || no >= p->n)
		return damaged(ix);
	*ret = page_of(p, no);
	if (p->seen[no / 8] & 1 << no % 8)
		return 0;
	if (!page_makes_sense(p, no))
		return damaged(ix);
	p->seen[no / 8] |= (uint8_t)(1 << no % 8);
	return 0;
}

/* The last child whose first key is not beyond KEY; the first one has none. */
static unsigned child_for(const uint8_t *page, const MDB_val *key)
{
	unsigned low = 1, high = n_nodes(page);

	while (low < high) {
		unsigned i = (low + high) / 2;
		struct node n = node_of(page, i);
		int order = memcmp(n.b + NODE_HEADER, key->mv_data,
			MIN_OF(n.key_len, key->mv_size));

		if (order < 0 || (order == 0 && n.key_len <= key->mv_size))
			low = i + 1;
		else
			high = i;
	}
	return low - 1;
}

/* A page from which something is removed may be merged with one beside it. */
static int beside(struct index *ix, const uint8_t *page, unsigned i)
{
	int r = 0;

	for (unsigned j = i > 0 ? i - 1 : 0; r == 0 && j <= i + 1; j++) {
		const uint8_t *other;
		struct node n;

		if (j >= n_nodes(page))
			break;
		n = node_of(page, j);
		r = page_get(ix, node_child(&n), &other);
	}
	return r;
}

int index_pages_check(
	struct index *ix, unsigned db, const MDB_val *key, bool remove)
{
	uint64_t no = ix->pages.root[db];

	if (no == NO_PAGE)
		return 0;
	for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
		const uint8_t *page;
		struct node n;
		unsigned i;
		int r = page_get(ix, no, &page);

		if (r < 0 || page_flags(page) == PAGE_LEAF)
			return r;
		i = child_for(page, key);
		if (remove) {
			r = beside(ix, page, i);
			if (r < 0)
				return r;
		}
		n = node_of(page, i);
		no = node_child(&n);
	}
	return damaged(ix);
}

static int root_found(struct index *ix, const struct node *n)
{
	struct index_pages *p = &ix->pages;

	if (n->flags != NODE_TREE || n->len != TREE_LEN)
		return damaged(ix);
	for (unsigned db = 0; db < INDEX_N_DBS; db++) {
		const char *name = index_db_name(db);

		if (strlen(name) == n->key_len &&
			memcmp(name, n->b + NODE_HEADER, n->key_len) == 0)
			p->root[db] = get_le64(node_value(n) + TREE_ROOT);
	}
	return 0;
}

/* All pages of the tree; if it is the one that names the others, these. */
static int whole_tree(struct index *ix, uint64_t no, bool names, unsigned depth)
{
	const uint8_t *page;
	int r;

	if (no == NO_PAGE)
		return 0;
	if (depth == DEPTH_MAX)
		return damaged(ix);
	r = page_get(ix, no, &page);
	if (r < 0 || (page_flags(page) == PAGE_LEAF && !names))
		return r;
	for (unsigned i = 0; r == 0 && i < n_nodes(page); i++) {
		struct node n = node_of(page, i);

		if (page_flags(page) == PAGE_LEAF)
			r = root_found(ix, &n);
		else
			r = whole_tree(ix, node_child(&n), names, depth + 1);
	}
	return r;
}

static int map_file(struct index *ix, int fd, size_t file_len)
{
	struct index_pages *p = &ix->pages;
	size_t len = MAX_OF(p->map_len, MAP_MIN);
	void *map;

	while (len < file_len)
		len *= 2;
	if (len == p->map_len)
		return 0;
	map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return fail(errno, "%s: %m", ix->dir);
	if (p->map)
		munmap((void *)(uintptr_t)p->map, p->map_len);
	p->map = map;
	p->map_len = len;
	return 0;
}

static int more_seen(struct index *ix)
{
	struct index_pages *p = &ix->pages;
	size_t len = p->map_len / p->page_len / 8;
	uint8_t *seen;

	if (len <= p->seen_len)
		return 0;
	seen = realloc(p->seen, len);
	if (!seen)
		return fail(ENOMEM, "%s: %m", ix->dir);
	memset(seen + p->seen_len, 0, len - p->seen_len);
	p->seen = seen;
	p->seen_len = len;
	return 0;
}

static int file_open(struct index *ix)
{
	struct index_pages *p = &ix->pages;
	struct stat st;
	MDB_stat whole;
	int fd;
	int rc = mdb_env_get_fd(ix->env, &fd);
	int r;

	if (rc == 0)
		rc = mdb_env_stat(ix->env, &whole);
	if (rc != 0)
		return index_error(ix, rc, "pages");
	if (fstat(fd, &st) != 0)
		return fail(errno, "%s: %m", ix->dir);
	p->page_len = whole.ms_psize;
	p->n = (uint64_t)st.st_size / p->page_len;
	if (p->n < META_PAGES)
		return damaged(ix);
	r = map_file(ix, fd, (size_t)st.st_size);
	return r < 0 ? r : more_seen(ix);
}

int index_pages_begin(struct index *ix, MDB_txn *txn)
{
	struct index_pages *p = &ix->pages;
	int r = file_open(ix);

	if (r < 0)
		return r;
	for (unsigned db = 0; db < INDEX_N_DBS; db++)
		p->root[db] = NO_PAGE;
	for (unsigned no = 0; no < META_PAGES; no++) {
		const uint8_t *page = page_of(p, no);

		if (get_le64(page + META_TXN) + 1 != mdb_txn_id(txn))
			continue;
		r = whole_tree(ix, get_le64(page + META_FREE_ROOT), false, 0);
		if (r == 0)
			r = whole_tree(
				ix, get_le64(page + META_MAIN_ROOT), true, 0);
		return r;
	}
	return damaged(ix);
}

void index_pages_fini(struct index_pages *p)
{
	if (p->map)
		munmap((void *)(uintptr_t)p->map, p->map_len);
	free(p->seen);
}

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/index_pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "repo/index_db.h"
#include "src/log.h"

#define DEPTH_MAX 32 /* LMDB's own */
#define MAP_MIN ((size_t)1 << 20)

static int damaged(const struct index *ix)
{
	return index_damaged(ix, "a page makes no sense");
}

static bool bit_is_set(const uint8_t *bits, uint64_t no)
{
	return bits[no / 8] & 1 << no % 8;
}

static void bit_set(uint8_t *bits, uint64_t no)
{
	bits[no / 8] |= (uint8_t)(1 << no % 8);
}

/* The page of that number, if it makes sense; whether it is met anew. */
static int page_get(
	struct index *ix, uint64_t no, const uint8_t **ret, bool *ret_new)
{
	struct index_pages *p = &ix->pages;

	if (no < META_PAGES || no >= p->file.n || no > p->last)
		return damaged(ix);
	*ret = page_at(&p->file, no);
	*ret_new = !bit_is_set(p->seen, no);
	if (!*ret_new)
		return 0;
	if (!page_makes_sense(&p->file, no))
		return damaged(ix);
	bit_set(p->seen, no);
	return 0;
}

/* The last child whose first key is not beyond KEY; the first one has none. */
static unsigned child_for(const uint8_t *page, const MDB_val *key)
{
	unsigned low = 1, high = page_nodes(page);

	while (low < high) {
		unsigned i = (low + high) / 2;
		struct page_node n = page_node(page, i);
		int order = memcmp(node_key(&n), key->mv_data,
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
		bool is_new;
		struct page_node n;

		if (j >= page_nodes(page))
			break;
		n = page_node(page, j);
		r = page_get(ix, node_child(&n), &other, &is_new);
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
		struct page_node n;
		bool is_new;
		unsigned i;
		int r = page_get(ix, no, &page, &is_new);

		if (r < 0 || page_is_leaf(page))
			return r;
		i = child_for(page, key);
		if (remove) {
			r = beside(ix, page, i);
			if (r < 0)
				return r;
		}
		n = page_node(page, i);
		no = node_child(&n);
	}
	return damaged(ix);
}

/*
 * A page is free or of one tree, once. Of an older state of a tree all pages
 * are free in this one, and make sense: only this tells them.
 */
static int page_take(struct index *ix, uint64_t no)
{
	uint8_t *taken = ix->pages.taken;

	if (taken && bit_is_set(taken, no))
		return damaged(ix);
	if (taken)
		bit_set(taken, no);
	return 0;
}

static int root_found(struct index *ix, const struct page_node *n)
{
	struct index_pages *p = &ix->pages;

	if (n->flags != NODE_TREE || n->len != TREE_LEN)
		return damaged(ix);
	for (unsigned db = 0; db < INDEX_N_DBS; db++) {
		const char *name = index_db_name(db);

		if (strlen(name) == n->key_len &&
			memcmp(name, node_key(n), n->key_len) == 0)
			p->root[db] = get_le64(node_value(n) + TREE_ROOT);
	}
	p->n_known += tree_pages(node_value(n));
	return 0;
}

enum tree { TREE_OF_FREE, TREE_OF_TREES, TREE_OF_VALUES };

static int list_found(struct index *ix, const struct page_node *n)
{
	struct index_pages *p = &ix->pages;
	const uint8_t *list;
	uint64_t n_pages;
	int r = 0;

	if (!page_free_list(&p->file, n, p->txn, p->last, &list, &n_pages))
		return damaged(ix);
	p->n_known += n_pages;
	for (uint64_t i = 0; p->taken && r == 0 && i < n_pages; i++) {
		uint64_t no = get_le64(list + 8 * i);

		if (no < p->file.n)
			r = page_take(ix, no);
	}
	return r;
}

static int leaf_found(
	struct index *ix, enum tree tree, const uint8_t *page, bool is_new)
{
	int r = 0;

	/* lists are long: once for each page they are in */
	if (tree == TREE_OF_VALUES || (tree == TREE_OF_FREE && !is_new))
		return 0;
	for (unsigned i = 0; r == 0 && i < page_nodes(page); i++) {
		struct page_node n = page_node(page, i);

		r = tree == TREE_OF_TREES ? root_found(ix, &n)
					  : list_found(ix, &n);
	}
	return r;
}

static int walk(struct index *ix, enum tree tree, uint64_t no, unsigned depth)
{
	const uint8_t *page;
	bool is_new;
	int r;

	if (no == NO_PAGE)
		return 0;
	if (depth == DEPTH_MAX)
		return damaged(ix);
	r = page_get(ix, no, &page, &is_new);
	if (r == 0)
		r = page_take(ix, no);
	if (r < 0)
		return r;
	if (page_is_leaf(page))
		return leaf_found(ix, tree, page, is_new || ix->pages.taken);
	for (unsigned i = 0; r == 0 && i < page_nodes(page); i++) {
		struct page_node n = page_node(page, i);

		r = walk(ix, tree, node_child(&n), depth + 1);
	}
	return r;
}

static int map_file(struct index *ix, int fd, size_t file_len)
{
	struct index_pages *p = &ix->pages;
	size_t len = MAX_OF(p->file.map_len, MAP_MIN);
	void *map;

	while (len < file_len)
		len *= 2;
	if (len == p->file.map_len)
		return 0;
	map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return fail(errno, "%s: %m", ix->dir);
	if (p->file.map)
		munmap((void *)(uintptr_t)p->file.map, p->file.map_len);
	p->file.map = map;
	p->file.map_len = len;
	return 0;
}

static int more_seen(struct index *ix)
{
	struct index_pages *p = &ix->pages;
	size_t len = p->file.map_len / p->file.page_len / 8;
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
	p->file.page_len = whole.ms_psize;
	p->file.n = (uint64_t)st.st_size / p->file.page_len;
	if (p->file.n < META_PAGES)
		return damaged(ix);
	r = map_file(ix, fd, (size_t)st.st_size);
	return r < 0 ? r : more_seen(ix);
}

/* Of which there are few pages, and on which hangs what is cut off or put in
 * the place of something else. */
static bool is_small(unsigned db)
{
	return db != COLL_CHUNKS && db != COLL_MAPS && db != COLL_CONDEMNED;
}

static int trees(struct index *ix, const uint8_t *state)
{
	struct index_pages *p = &ix->pages;
	int r;

	for (unsigned db = 0; db < INDEX_N_DBS; db++)
		p->root[db] = NO_PAGE;
	p->n_known = META_PAGES + tree_pages(state + META_FREE) +
		     tree_pages(state + META_MAIN);
	r = walk(ix, TREE_OF_FREE, get_le64(state + META_FREE + TREE_ROOT), 0);
	if (r == 0)
		r = walk(ix, TREE_OF_TREES,
			get_le64(state + META_MAIN + TREE_ROOT), 0);
	if (r == 0 && p->taken && p->n_known > p->last + 1)
		return damaged(ix);
	for (unsigned db = 0; p->taken && r == 0 && db < INDEX_N_DBS; db++)
		if (is_small(db))
			r = walk(ix, TREE_OF_VALUES, p->root[db], 0);
	return r;
}

/* Is PAGE in the list of what transaction TXN freed, in the tree at NO? */
static bool has_freed(const struct page_file *f, uint64_t no, unsigned depth,
	uint64_t txn, uint64_t page)
{
	bool found = false;

	if (depth == DEPTH_MAX || no < META_PAGES || no >= f->n ||
		!page_makes_sense(f, no))
		return false;
	for (unsigned i = 0; !found && i < page_nodes(page_at(f, no)); i++) {
		struct page_node n = page_node(page_at(f, no), i);
		const uint8_t *list;
		uint64_t n_pages;

		if (!page_is_leaf(page_at(f, no))) {
			found = has_freed(
				f, node_child(&n), depth + 1, txn, page);
			continue;
		}
		if (!page_free_list(f, &n, txn, f->n - 1, &list, &n_pages) ||
			get_le64(node_key(&n)) != txn)
			continue;
		for (uint64_t j = 0; !found && j < n_pages; j++)
			found = get_le64(list + 8 * j) == page;
	}
	return found;
}

/*
 * Whether STATE is what was made of the other one, which is a transaction
 * older. One that says it is newer than it is is whole; but then the newest
 * transaction has freed what it begins with. Nothing else is asked of the other
 * one: LMDB leaves trees in it that never came to be where it could not write a
 * state (measured).
 */
static int states_follow(struct index *ix, const uint8_t *state)
{
	struct index_pages *p = &ix->pages;
	const uint8_t *before = page_at(&p->file, 1 - p->txn % 2);

	if (get_le64(state + META_TXN) != p->txn)
		return damaged(ix);
	if (p->txn == 0)
		return 0;
	if (get_le64(before + META_TXN) + 1 != p->txn)
		return damaged(ix);
	if (p->taken &&
		has_freed(&p->file, get_le64(before + META_FREE + TREE_ROOT), 0,
			p->txn - 1, get_le64(state + META_MAIN + TREE_ROOT)))
		return damaged(ix);
	return 0;
}

int index_pages_begin(struct index *ix, MDB_txn *txn)
{
	struct index_pages *p = &ix->pages;
	const uint8_t *state;
	int r = file_open(ix);

	if (r < 0)
		return r;
	p->txn = mdb_txn_id(txn) - 1;
	state = page_at(&p->file, p->txn % 2);
	p->last = get_le64(state + META_LAST);
	if (!p->began) {
		p->taken = calloc(1, p->seen_len);
		if (!p->taken)
			return fail(ENOMEM, "%s: %m", ix->dir);
	}
	r = states_follow(ix, state);
	if (r == 0)
		r = trees(ix, state);
	p->began |= r == 0;
	free(p->taken);
	p->taken = NULL;
	return r;
}

void index_pages_fini(struct index_pages *p)
{
	if (p->file.map)
		munmap((void *)(uintptr_t)p->file.map, p->file.map_len);
	free(p->seen);
}

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

enum tree {
	TREE_OF_FREE,
	TREE_OF_FREED, /* that of the state before */
	TREE_OF_TREES,
	TREE_OF_VALUES
};

/* Through a tree of the state that transaction TXN left, whose last page is
 * LAST. */
struct walk {
	struct index *ix;
	enum tree tree;
	uint64_t txn, last;
	uint64_t in_use; /* TREE_OF_FREED: what TXN cannot have freed */
};

static int list_found(const struct walk *w, const struct page_node *n)
{
	struct index_pages *p = &w->ix->pages;
	const uint8_t *list;
	uint64_t n_pages;
	int r = 0;

	if (!page_free_list(&p->file, n, w->txn, w->last, &list, &n_pages))
		return damaged(w->ix);
	if (w->tree == TREE_OF_FREE)
		p->n_known += n_pages;
	for (uint64_t i = 0; p->taken && r == 0 && i < n_pages; i++) {
		uint64_t no = get_le64(list + 8 * i);

		if (w->tree == TREE_OF_FREE && no < p->file.n)
			r = page_take(w->ix, no);
		else if (w->tree == TREE_OF_FREED && no == w->in_use &&
			 get_le64(node_key(n)) == w->txn)
			r = damaged(w->ix);
	}
	return r;
}

static int leaf_found(const struct walk *w, const uint8_t *page, bool is_new)
{
	int r = 0;

	/* lists are long: once for each page they are in */
	if (w->tree == TREE_OF_VALUES || (w->tree != TREE_OF_TREES && !is_new))
		return 0;
	for (unsigned i = 0; r == 0 && i < page_nodes(page); i++) {
		struct page_node n = page_node(page, i);

		r = w->tree == TREE_OF_TREES ? root_found(w->ix, &n)
					     : list_found(w, &n);
	}
	return r;
}

static int walk(const struct walk *w, uint64_t no, unsigned depth)
{
	const uint8_t *page;
	bool is_new;
	int r;

	if (no == NO_PAGE)
		return 0;
	if (depth == DEPTH_MAX)
		return damaged(w->ix);
	r = page_get(w->ix, no, &page, &is_new);
	if (r == 0 && w->tree != TREE_OF_FREED)
		r = page_take(w->ix, no);
	if (r < 0)
		return r;
	if (page_is_leaf(page))
		return leaf_found(w, page, is_new || w->ix->pages.taken);
	for (unsigned i = 0; r == 0 && i < page_nodes(page); i++) {
		struct page_node n = page_node(page, i);

		r = walk(w, node_child(&n), depth + 1);
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
	struct walk w = { .ix = ix, .txn = p->txn, .last = p->last };
	int r;

	for (unsigned db = 0; db < INDEX_N_DBS; db++)
		p->root[db] = NO_PAGE;
	p->n_known = META_PAGES + tree_pages(state + META_FREE) +
		     tree_pages(state + META_MAIN);
	w.tree = TREE_OF_FREE;
	r = walk(&w, get_le64(state + META_FREE + TREE_ROOT), 0);
	w.tree = TREE_OF_TREES;
	if (r == 0)
		r = walk(&w, get_le64(state + META_MAIN + TREE_ROOT), 0);
	if (r == 0 && p->taken && p->n_known > p->last + 1)
		return damaged(ix);
	w.tree = TREE_OF_VALUES;
	for (unsigned db = 0; p->taken && r == 0 && db < INDEX_N_DBS; db++)
		if (is_small(db))
			r = walk(&w, p->root[db], 0);
	return r;
}

/*
 * Whether STATE is what was made of the other one, which is a transaction
 * older. A state that says it is newer, or older, than it is, is whole: but
 * then the transaction between has freed what the newest one begins with, or
 * the older one has lists of pages that a later one freed.
 */
static int states_follow(struct index *ix, const uint8_t *state)
{
	struct index_pages *p = &ix->pages;
	const uint8_t *before = page_at(&p->file, 1 - p->txn % 2);
	struct walk w = { .ix = ix,
		.tree = TREE_OF_FREED,
		.txn = get_le64(before + META_TXN),
		.last = get_le64(before + META_LAST),
		.in_use = get_le64(state + META_MAIN + TREE_ROOT) };

	if (get_le64(state + META_TXN) != p->txn)
		return damaged(ix);
	if (p->txn == 0)
		return 0;
	if (w.txn + 1 != p->txn)
		return damaged(ix);
	return p->taken ? walk(&w, get_le64(before + META_FREE + TREE_ROOT), 0)
			: 0;
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index_page - one page of LMDB's file: what stands in it, and whether that
 * makes sense. What is believed of the format (0.9, lmdb.h and mdb.c of
 * Debian's 0.9.24) is in index_page.c and here alone.
 *
 * A page: its number (8 bytes), 2 of padding, flags (2), then the end of the
 * offsets of its nodes and the begin of the nodes (2 each) or, of an overflow
 * page, how many pages it takes (4); from byte 16 on the offsets, 2 each. A
 * node: 4 bytes of length or, with the next two, a page number; flags (2);
 * length of its key (2); the key; the value or the number of its overflow page.
 * Nodes begin at even offsets and fill the page from their begin to its end.
 * The first two pages have a state each, that of every other transaction.
 *
 * Units      bytes; pages by their number.
 * Ownership  borrows the mapped file.
 * Threads    any thread, while nobody writes to the pages it looks at.
 */
#ifndef HIVEFS_INDEX_PAGE_H
#define HIVEFS_INDEX_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/bytes.h"

#define PAGE_HEADER 16u
#define PAGE_LEN_MIN 512u /* LMDB takes the system's, but no larger one */
#define PAGE_LEN_MAX 32768u
#define PAGE_BRANCH 1
#define PAGE_LEAF 2
#define PAGE_OVERFLOW 4
#define NODE_HEADER 8u
#define NODE_OVERFLOW 1
#define NODE_TREE 2
#define META_PAGES 2
/* at the end, at most: those a transaction took and had no use for after all */
#define PAGES_UNWRITTEN 131072u
#define META_PAGE_LEN 40
#define META_FREE 40 /* the trees of free pages, and of trees */
#define META_MAIN 88
#define META_LAST 136 /* page in use */
#define META_TXN 144
#define META_END 152
#define TREE_LEN 48  /* what names a tree */
#define TREE_PAGES 8 /* branch, leaf and overflow pages, 8 each */
#define TREE_ROOT 40
#define NO_PAGE UINT64_MAX

struct page_file {
	const uint8_t *map; /* of the whole file and what it may grow to */
	size_t map_len;
	size_t page_len;
	uint64_t n; /* pages in the file */
};

struct page_node {
	const uint8_t *b;
	size_t key_len;
	size_t len; /* of its value */
	unsigned flags;
};

static inline const uint8_t *page_at(const struct page_file *f, uint64_t no)
{
	return f->map + no * f->page_len;
}

static inline bool page_is_leaf(const uint8_t *page)
{
	return get_le16(page + 10) == PAGE_LEAF;
}

static inline unsigned page_nodes(const uint8_t *page)
{
	return (get_le16(page + 12) - PAGE_HEADER) / 2;
}

struct page_node page_node(const uint8_t *page, unsigned i);

static inline const uint8_t *node_key(const struct page_node *n)
{
	return n->b + NODE_HEADER;
}

/* Where the value is, or the number of its overflow page. */
static inline const uint8_t *node_value(const struct page_node *n)
{
	return n->b + NODE_HEADER + n->key_len;
}

/* The page it names, of a node of a branch page. */
static inline uint64_t node_child(const struct page_node *n)
{
	return n->len | (uint64_t)n->flags << 32;
}

/* The pages of a tree, by what names it. */
static inline uint64_t tree_pages(const uint8_t *tree)
{
	return get_le64(tree + TREE_PAGES) + get_le64(tree + TREE_PAGES + 8) +
	       get_le64(tree + TREE_PAGES + 16);
}

/* Page NO, which must be in the file, as a branch or leaf page. */
bool page_makes_sense(const struct page_file *f, uint64_t no);

/*
 * A node of the tree of free pages: by the number of the transaction, at most
 * LAST_TXN, the pages it freed: how many and which (8 each), in descending
 * order; none is beyond LAST. Of a page that makes sense only. ret: the first.
 */
bool page_free_list(const struct page_file *f, const struct page_node *n,
	uint64_t last_txn, uint64_t last, const uint8_t **ret, uint64_t *ret_n);

/*
 * What LMDB believes of the two states in the file FD when it opens it: by a
 * page's length it divides, it maps all pages up to the last (measured), and
 * what a state begins with is read at once, also where the file was cut short.
 */
bool page_states_make_sense(int fd);

#endif

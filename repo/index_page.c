/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/index_page.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct page_node page_node(const uint8_t *page, unsigned i)
{
	const uint8_t *b = page + get_le16(page + PAGE_HEADER + 2 * (size_t)i);

	return (struct page_node){ .b = b,
		.key_len = get_le16(b + 6),
		.len = get_le32(b),
		.flags = get_le16(b + 4) };
}

/* Room it takes. */
static size_t node_room(const uint8_t *page, const struct page_node *n)
{
	size_t len = NODE_HEADER + n->key_len;

	if (page_is_leaf(page))
		len += n->flags & NODE_OVERFLOW ? 8 : n->len;
	return (len + 1) & ~(size_t)1;
}

static bool overflow_makes_sense(
	const struct page_file *f, const struct page_node *n)
{
	uint64_t no = get_le64(node_value(n));
	const uint8_t *page;
	uint64_t pages;

	if (no < META_PAGES || no >= f->n)
		return false;
	page = page_at(f, no);
	pages = get_le32(page + 12);
	return get_le64(page) == no && get_le16(page + 10) == PAGE_OVERFLOW &&
	       pages <= f->n - no &&
	       PAGE_HEADER + (uint64_t)n->len <= pages * f->page_len;
}

static bool node_makes_sense(const struct page_file *f, const uint8_t *page,
	const struct page_node *n)
{
	if (!page_is_leaf(page))
		return node_child(n) >= META_PAGES && node_child(n) < f->n;
	if (n->flags & ~(NODE_OVERFLOW | NODE_TREE))
		return false;
	return !(n->flags & NODE_OVERFLOW) || overflow_makes_sense(f, n);
}

/*
 * Each byte from where they begin to the end of the page is of one node: of two
 * that share some, LMDB moves more than there is when it removes one.
 */
static bool nodes_fill(
	const struct page_file *f, const uint8_t *page, const uint16_t *room)
{
	size_t off = get_le16(page + 14);

	for (unsigned i = 0; i < page_nodes(page); i++) {
		if (off >= f->page_len || room[off / 2] == 0)
			return false;
		off += room[off / 2];
	}
	return off == f->page_len;
}

static bool nodes_make_sense(const struct page_file *f, const uint8_t *page)
{
	uint16_t room[PAGE_LEN_MAX / 2]; /* by half the node's offset */
	size_t begin = get_le16(page + 14);

	memset(room, 0, f->page_len);
	for (unsigned i = 0; i < page_nodes(page); i++) {
		size_t off = get_le16(page + PAGE_HEADER + 2 * (size_t)i);
		struct page_node n;
		size_t len;

		if (off < begin || off % 2 != 0 ||
			off > f->page_len - NODE_HEADER)
			return false;
		n = page_node(page, i);
		len = node_room(page, &n);
		if (len > f->page_len - off || !node_makes_sense(f, page, &n))
			return false;
		room[off / 2] = (uint16_t)len;
	}
	return nodes_fill(f, page, room);
}

bool page_makes_sense(const struct page_file *f, uint64_t no)
{
	const uint8_t *page = page_at(f, no);
	unsigned flags = get_le16(page + 10);
	unsigned end = get_le16(page + 12);
	unsigned begin = get_le16(page + 14);

	return get_le64(page) == no &&
	       (flags == PAGE_BRANCH || flags == PAGE_LEAF) &&
	       end > PAGE_HEADER && end % 2 == 0 && end <= begin &&
	       begin % 2 == 0 && begin <= f->page_len &&
	       nodes_make_sense(f, page);
}

bool page_free_list(const struct page_file *f, const struct page_node *n,
	uint64_t last_txn, uint64_t last, const uint8_t **ret, uint64_t *ret_n)
{
	const uint8_t *value = node_value(n);
	uint64_t before = last + 1;
	uint64_t n_pages;

	if (n->flags & NODE_TREE || n->key_len != 8 || n->len < 8 ||
		n->len % 8 != 0 || get_le64(node_key(n)) > last_txn)
		return false;
	if (n->flags & NODE_OVERFLOW)
		value = page_at(f, get_le64(value)) + PAGE_HEADER;
	n_pages = get_le64(value);
	if (n_pages > n->len / 8 - 1)
		return false;
	for (uint64_t i = 1; i <= n_pages; i++) {
		uint64_t no = get_le64(value + 8 * i);

		if (no < META_PAGES || no >= before)
			return false;
		before = no;
	}
	*ret = value + 8;
	*ret_n = n_pages;
	return true;
}

/* Was it ever written? What a state begins with has been, before the state. */
static bool root_is_there(const uint8_t *tree, uint64_t n)
{
	uint64_t root = get_le64(tree + TREE_ROOT);

	return root == NO_PAGE || (root >= META_PAGES && root < n);
}

/* Its page length; 0 if it makes no sense. */
static size_t state_read(int fd, size_t off)
{
	uint8_t b[META_END];
	struct stat st;
	uint64_t n;
	size_t len;

	if (pread(fd, b, sizeof(b), (off_t)off) != sizeof(b) ||
		fstat(fd, &st) != 0)
		return 0;
	len = get_le32(b + META_PAGE_LEN);
	if (len < PAGE_LEN_MIN || len > PAGE_LEN_MAX || (len & (len - 1)) != 0)
		return 0;
	n = (uint64_t)st.st_size / len;
	if (get_le64(b + META_LAST) > n + PAGES_UNWRITTEN ||
		!root_is_there(b + META_FREE, n) ||
		!root_is_there(b + META_MAIN, n))
		return 0;
	return len;
}

bool page_states_make_sense(int fd)
{
	size_t len = state_read(fd, 0);

	return len != 0 && state_read(fd, len) == len;
}

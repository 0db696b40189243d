/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/qcow2.h"

#include <errno.h>

#include "formats/slice.h"

#define CLUSTER_BITS 21u /* the most there is: the least metadata */
#define CLUSTER (UINT64_C(1) << CLUSTER_BITS)
#define PER_TABLE (CLUSTER / 8)       /* entries of an L1 or L2 table */
#define PER_REFS (CLUSTER / 2)        /* counts of a refcount block */
#define GUEST_MAX (UINT64_C(2) << 60) /* L1 table of at most 32 MiB */

/* Where things are, in clusters. */
struct plan {
	uint64_t ref_table, refs, l1, l2, data;
	uint64_t n_refs, n_l2, n_data;
};

static uint64_t divide_up(uint64_t v, uint64_t by)
{
	return v / by + (v % by != 0);
}

static struct plan plan(uint64_t guest)
{
	struct plan p = { .ref_table = 1, .n_data = divide_up(guest, CLUSTER) };
	uint64_t n_l1, n_table, n = 0;

	p.n_l2 = divide_up(p.n_data, PER_TABLE);
	n_l1 = divide_up(p.n_l2, PER_TABLE);
	/* what counts clusters is counted itself */
	do {
		p.n_refs = MAX_OF(divide_up(n, PER_REFS), UINT64_C(1));
		n_table = divide_up(p.n_refs, PER_TABLE);
		n = 1 + n_table + p.n_refs + n_l1 + p.n_l2 + p.n_data;
	} while (n > p.n_refs * PER_REFS);
	p.refs = p.ref_table + n_table;
	p.l1 = p.refs + p.n_refs;
	p.l2 = p.l1 + n_l1;
	p.data = p.l2 + p.n_l2;
	return p;
}

/* It has no word for the size of a sector, as raw has none. */
static int qcow2_layout(
	uint64_t guest, uint32_t sector_size, struct layout *ret)
{
	struct plan p;

	if (guest == 0 || guest > GUEST_MAX || guest % 512)
		return -EFBIG;
	p = plan(guest);
	*ret = (struct layout){ .guest = guest,
		.sector_size = sector_size,
		.prefix = p.data * CLUSTER,
		.disk = guest,
		.pad = p.n_data * CLUSTER - guest };
	return 0;
}

void qcow2_header(const struct qcow2_header *h, uint8_t b[QCOW2_HEADER])
{
	memset(b, 0, QCOW2_HEADER);
	memcpy(b, "QFI\xfb", 4);
	put_be32(b + 4, 3); /* version */
	put_be32(b + 20, h->cluster_bits);
	put_be64(b + 24, h->guest);          /* size */
	put_be32(b + 36, (uint32_t)h->n_l1); /* l1_size */
	put_be64(b + 40, h->l1);             /* l1_table_offset */
	put_be64(b + 48, h->ref_table);      /* refcount_table_offset */
	put_be32(b + 56, (uint32_t)h->ref_table_clusters);
	put_be32(b + 96, 4);             /* refcount_order */
	put_be32(b + 100, QCOW2_HEADER); /* header_length */
}

static void header(
	const struct slice *s, const struct layout *l, const struct plan *p)
{
	const struct qcow2_header h = { .cluster_bits = CLUSTER_BITS,
		.guest = l->guest,
		.l1 = p->l1 * CLUSTER,
		.n_l1 = p->n_l2,
		.ref_table = p->ref_table * CLUSTER,
		.ref_table_clusters = p->refs - p->ref_table };
	uint8_t b[QCOW2_HEADER];

	qcow2_header(&h, b);
	slice_put(s, 0, b, sizeof(b));
}

/* A table at cluster AT that points to N clusters in a row. */
static void table(const struct slice *s, uint64_t at, uint64_t first,
	uint64_t n, uint64_t flags)
{
	uint64_t off = at * CLUSTER, end = slice_end(s, off, 8, n);

	for (uint64_t i = slice_first(s, off, 8, n); i < end; i++) {
		uint8_t b[8];

		put_be64(b, (first + i) * CLUSTER | flags);
		slice_put(s, off + 8 * i, b, sizeof(b));
	}
}

/* Which clusters are not all zeroes, asked about in rising order. */
struct looker {
	const struct format_disk *disk; /* NULL: all */
	uint64_t guest;
	uint64_t known; /* up to where the last answer goes */
	bool zero;      /* what it was */
};

static int look(struct looker *k, uint64_t cluster, bool *ret)
{
	uint64_t off = cluster * CLUSTER;
	uint64_t end = MIN_OF(off + CLUSTER, k->guest);

	*ret = !k->disk;
	while (!*ret && off < end) {
		if (off >= k->known) {
			struct blk_extent e;
			int r = k->disk->extent(
				k->disk->arg, off, k->guest - off, &e);

			if (r < 0)
				return r;
			k->known = off + e.len;
			k->zero = e.kind == BLK_ZERO;
		}
		*ret = !k->zero;
		off = k->known;
	}
	return 0;
}

static int l2_tables(
	const struct slice *s, const struct plan *p, struct looker *k)
{
	uint64_t off = p->l2 * CLUSTER, end = slice_end(s, off, 8, p->n_data);

	for (uint64_t i = slice_first(s, off, 8, p->n_data); i < end; i++) {
		uint8_t b[8];
		bool data;
		int r = look(k, i, &data);

		if (r < 0)
			return r;
		if (!data)
			continue;
		put_be64(b, (p->data + i) * CLUSTER | QCOW2_COPIED);
		slice_put(s, off + 8 * i, b, sizeof(b));
	}
	return 0;
}

/* 1 for what is used: all metadata, and the clusters that are not zeroes. */
static int refcounts(
	const struct slice *s, const struct plan *p, struct looker *k)
{
	uint64_t off = p->refs * CLUSTER, n = p->data + p->n_data;
	uint64_t end = slice_end(s, off, 2, n);

	for (uint64_t i = slice_first(s, off, 2, n); i < end; i++) {
		bool used = i < p->data;
		uint8_t b[2];
		int r = used ? 0 : look(k, i - p->data, &used);

		if (r < 0)
			return r;
		put_be16(b, used);
		slice_put(s, off + 2 * i, b, sizeof(b));
	}
	return 0;
}

static int qcow2_metadata(const struct layout *l, const struct identity *id,
	const struct format_disk *d, uint64_t off, size_t len, uint8_t *out)
{
	struct slice s = slice_init(off, len, out);
	struct looker refs = { .disk = d, .guest = l->guest }, l2 = refs;
	struct plan p = plan(l->guest);
	int r;

	(void)id; /* it has no identifier */
	header(&s, l, &p);
	table(&s, p.ref_table, p.refs, p.n_refs, 0);
	table(&s, p.l1, p.l2, p.n_l2, QCOW2_COPIED);
	r = refcounts(&s, &p, &refs);
	return r < 0 ? r : l2_tables(&s, &p, &l2);
}

const struct format format_qcow2 = {
	.number = 5,
	.read_only = true,
	.name = "qcow2",
	.ending = ".qcow2",
	.layout = qcow2_layout,
	.metadata = qcow2_metadata,
};

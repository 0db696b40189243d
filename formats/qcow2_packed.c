/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A qcow2 file of its own: clusters of 64 KiB, the usual ones, and no table
 * that would say nothing.
 */
#include <errno.h>

#include "formats/qcow2.h"
#include "formats/slice.h"

#define CLUSTER_BITS 16u
#define CLUSTER (UINT64_C(1) << CLUSTER_BITS)
#define PER_TABLE (CLUSTER / 8)
#define PER_REFS (CLUSTER / 2)

/* Where things are, in clusters: what is behind a table begins at its end. */
struct plan {
	uint64_t n_l1; /* entries */
	uint64_t refs, l1, l2, data, end;
};

static uint64_t divide_up(uint64_t v, uint64_t by)
{
	return v / by + (v % by != 0);
}

/* Does any cluster of L2 table I hold data? */
static bool has_table(const struct present *p, uint64_t i)
{
	uint64_t first = i * PER_TABLE;
	uint64_t end = MIN_OF(first + PER_TABLE, p->n_blocks);

	return present_before(p, first) < present_before(p, end);
}

static struct plan plan(const struct present *present)
{
	struct plan p = { .n_l1 = divide_up(present->n_blocks, PER_TABLE) };
	uint64_t n_l2 = 0, n_refs = 0;

	for (uint64_t i = 0; i < p.n_l1; i++)
		n_l2 += has_table(present, i);
	/* what counts clusters is counted itself */
	do {
		n_refs = MAX_OF(divide_up(p.end, PER_REFS), UINT64_C(1));
		p.refs = 1 + divide_up(n_refs, PER_TABLE);
		p.l1 = p.refs + n_refs;
		p.l2 = p.l1 + divide_up(p.n_l1, PER_TABLE);
		p.data = p.l2 + n_l2;
		p.end = p.data + present->n;
	} while (p.end > n_refs * PER_REFS);
	return p;
}

static int packed_layout(uint64_t guest, uint32_t sector_size,
	const struct present *present, struct packed *ret)
{
	if (guest == 0 || guest % 512)
		return -EFBIG;
	*ret = (struct packed){ .guest = guest,
		.sector_size = sector_size,
		.block = CLUSTER,
		.prefix = plan(present).data * CLUSTER,
		.present = present };
	return 0;
}

static void header(const struct slice *s, const struct packed *packed,
	const struct plan *p)
{
	const struct qcow2_header h = { .cluster_bits = CLUSTER_BITS,
		.guest = packed->guest,
		.l1 = p->l1 * CLUSTER,
		.n_l1 = p->n_l1,
		.ref_table = CLUSTER,
		.ref_table_clusters = p->refs - 1 };
	uint8_t b[QCOW2_HEADER];

	qcow2_header(&h, b);
	slice_put(s, 0, b, sizeof(b));
}

static void refcounts(const struct slice *s, const struct plan *p)
{
	uint64_t off = CLUSTER, n = p->l1 - p->refs;
	uint64_t end = slice_end(s, off, 8, n);

	for (uint64_t i = slice_first(s, off, 8, n); i < end; i++) {
		uint8_t b[8];

		put_be64(b, (p->refs + i) * CLUSTER);
		slice_put(s, off + 8 * i, b, sizeof(b));
	}
	off = p->refs * CLUSTER;
	end = slice_end(s, off, 2, p->end);
	for (uint64_t i = slice_first(s, off, 2, p->end); i < end; i++) {
		uint8_t b[2];

		put_be16(b, 1);
		slice_put(s, off + 2 * i, b, sizeof(b));
	}
}

/* Table I, which lies at OFF. */
static void l2_table(const struct slice *s, const struct packed *packed,
	uint64_t i, uint64_t off)
{
	const struct present *present = packed->present;
	uint64_t n = MIN_OF(PER_TABLE, present->n_blocks - i * PER_TABLE);
	uint64_t end = slice_end(s, off, 8, n);

	for (uint64_t k = slice_first(s, off, 8, n); k < end; k++) {
		uint64_t cluster = i * PER_TABLE + k;
		uint8_t b[8];

		if (!present_has(present, cluster))
			continue;
		put_be64(b, packed_place(packed, cluster) | QCOW2_COPIED);
		slice_put(s, off + 8 * k, b, sizeof(b));
	}
}

static void tables(const struct slice *s, const struct packed *packed,
	const struct plan *p)
{
	uint64_t at = p->l2 * CLUSTER;

	for (uint64_t i = 0; i < p->n_l1; i++) {
		uint8_t b[8];

		if (!has_table(packed->present, i))
			continue;
		put_be64(b, at | QCOW2_COPIED);
		slice_put(s, p->l1 * CLUSTER + 8 * i, b, sizeof(b));
		if (slice_has(s, at, CLUSTER))
			l2_table(s, packed, i, at);
		at += CLUSTER;
	}
}

static void packed_metadata(const struct packed *packed,
	const struct identity *id, uint64_t off, size_t len, uint8_t *out)
{
	struct slice s = slice_init(off, len, out);
	struct plan p = plan(packed->present);

	(void)id;
	header(&s, packed, &p);
	refcounts(&s, &p);
	tables(&s, packed, &p);
}

const struct packed_format packed_qcow2 = {
	.format = &format_qcow2,
	.name = "compact",
	.block = CLUSTER,
	.layout = packed_layout,
	.metadata = packed_metadata,
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmdk_sparse - VMware's extents that hold only what is not zeroes: grains of
 * 64 KiB that tables of 512 point to, all in one file with the descriptor. For
 * sectors of 512 bytes, and at most 2 TiB.
 *
 * monolithicSparse is a packed format. Grains of streamOptimized are compressed
 * (RFC 1950), so that where one begins is known when those before it are
 * written: here are its pieces, in the order of the file:
 *   header, ([marker][grain])…, for each table [marker][table],
 *   [marker][directory], [marker][footer], [end]
 */
#ifndef HIVEFS_VMDK_SPARSE_H
#define HIVEFS_VMDK_SPARSE_H

#include "formats/packed.h"

extern const struct packed_format packed_vmdk;

#define VMDK_SECTOR 512u
#define VMDK_GRAIN 65536u
#define VMDK_PER_TABLE 512u /* grains */
#define VMDK_TABLE (4 * VMDK_PER_TABLE)

/* Behind the header and the descriptor. */
#define VMDK_STREAM_BEGIN 65536u

bool vmdk_stream_can_hold(uint64_t guest, uint32_t sector_size);

void vmdk_stream_head(uint64_t guest, const struct identity *id,
	uint8_t b[VMDK_STREAM_BEGIN]);

/* Before the LEN compressed bytes of the grain at OFF of the disk. */
#define VMDK_GRAIN_MARKER 12u
void vmdk_grain_marker(
	uint64_t off, uint32_t len, uint8_t b[VMDK_GRAIN_MARKER]);

enum vmdk_marker {
	VMDK_END = 0,
	VMDK_TABLE_NEXT = 1,
	VMDK_DIRECTORY_NEXT = 2,
	VMDK_FOOTER_NEXT = 3,
};

/* Before LEN bytes of something else, which end with a sector. */
void vmdk_marker(enum vmdk_marker kind, uint64_t len, uint8_t b[VMDK_SECTOR]);

/* The directory is at that offset in the file. */
void vmdk_stream_footer(
	uint64_t guest, uint64_t directory, uint8_t b[VMDK_SECTOR]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export - writes a disk of a point or clone as an image file: the same bytes
 * as a restore writes, compared with their digests on the way, and a format's
 * metadata around or between them.
 *
 * Ownership  borrows all that it is given.
 * Threads    one call at a time; it runs threads of its own.
 */
#ifndef HIVEFS_EXPORT_H
#define HIVEFS_EXPORT_H

#include "formats/packed.h"
#include "tools/restore.h"

struct export_disk {
	struct restore from;
	uint32_t sector_size;
	struct identity identity;
};

/*
 * Which blocks of that size are not all zeroes, as far as maps tell; counted.
 * LOST ranges, which read as zeroes, are added to it unless it is NULL.
 */
int must_check export_present(const struct export_disk *e, uint64_t block,
	struct lost_ranges *lost, struct present **ret);

/* TO is fresh and of the size that the layout says. */
int must_check export_plain(const struct export_disk *e, const struct format *f,
	const struct layout *l, struct blk *to);
int must_check export_packed(const struct export_disk *e,
	const struct packed_format *f, const struct packed *p, struct blk *to);

/*
 * streamOptimized VMDK: PRESENT is of its grains. TO is as large as it may get,
 * RET_SIZE how large it is.
 */
uint64_t export_stream_max(const struct present *present);
int must_check export_stream(const struct export_disk *e,
	const struct present *present, struct blk *to, uint64_t *ret_size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wrecord - what one record of a clone's stream says: a range of the disk was
 * written, or zeroed; or something of what a view of the disk keeps beside it
 * (side.h). Layout: FORMAT.md, "Write records".
 *
 * Units      bytes; of the disk, off and len are multiples of 4096.
 */
#ifndef HIVEFS_WRECORD_H
#define HIVEFS_WRECORD_H

#include <stdint.h>

#include "src/cleanup.h"

#define WRECORD_HEAD 32u /* the data follows */

/* A write of 1 MiB that begins and ends within pages. */
#define WRECORD_PAGES_MAX 257u
#define WRECORD_SIDE_MAX (1u << 20)

#define WRECORD_DISK 0u /* the space of the disk itself */

enum wrecord_kind {
	WRECORD_DATA = 0,
	WRECORD_ZERO = 1,   /* of the disk only */
	WRECORD_LENGTH = 2, /* of a space: its file is this long from now on */
	WRECORD_FORGET = 3, /* of a space: nothing is kept there any more */
};

struct wrecord {
	uint8_t space;
	enum wrecord_kind kind;
	uint64_t off, len;
};

void wrecord_write(const struct wrecord *r, uint8_t out[WRECORD_HEAD]);

/*
 * -EBADMSG, quietly, if it is none for a disk of SIZE bytes. What was written
 * is at PAYLOAD + WRECORD_HEAD.
 */
int must_check wrecord_parse(const uint8_t *payload, uint32_t len,
	uint64_t size, struct wrecord *ret);

#endif

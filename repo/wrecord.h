/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wrecord - what one record of a clone's stream says: a range of the disk was
 * written, or several were zeroed; and how much of the disk is data then, so
 * that who opens the clone needs no look at its map. Or something of what a
 * view of the disk keeps beside it (side.h). Layout: FORMAT.md, "Write
 * records".
 *
 * Units      bytes; of the disk, offsets and lengths are multiples of 4096.
 */
#ifndef HIVEFS_WRECORD_H
#define HIVEFS_WRECORD_H

#include <stdint.h>

#include "src/cleanup.h"

#define WRECORD_HEAD 32u   /* the bytes written follow, or extents: */
#define WRECORD_EXTENT 16u /* each; as many as you like */

/* A write of 1 MiB that begins and ends within pages. */
#define WRECORD_PAGES_MAX 257u
#define WRECORD_SIDE_MAX (1u << 20)

#define WRECORD_DISK 0u /* the space of the disk itself */

enum wrecord_kind {
	/* of a space; of the disk in version 0.1, without `data`: */
	WRECORD_DATA = 0,
	/* of the disk in version 0.1: one range, without `data` */
	WRECORD_ZERO = 1,
	WRECORD_LENGTH = 2, /* of a space: its file is this long from now on */
	WRECORD_FORGET = 3, /* of a space: nothing is kept there any more */
	WRECORD_PAGES = 4,  /* of the disk: written */
	WRECORD_HOLES = 5,  /* of the disk: zeroed */
};

struct wrecord {
	uint8_t space;
	enum wrecord_kind kind;
	uint64_t data;     /* PAGES, HOLES: of the disk after it, as st_blocks
			      counts */
	uint64_t off, len; /* not of HOLES */
	uint32_t n;        /* HOLES: of extents */
	const uint8_t *extents;
};

void wrecord_write(const struct wrecord *r, uint8_t out[WRECORD_HEAD]);
void wrecord_extent(uint64_t off, uint64_t len, uint8_t out[WRECORD_EXTENT]);

/*
 * -EBADMSG, quietly, if it is none for a disk of SIZE bytes. What was written
 * is at PAYLOAD + WRECORD_HEAD.
 */
int must_check wrecord_parse(const uint8_t *payload, uint32_t len,
	uint64_t size, struct wrecord *ret);

/* Extent I of one that was parsed. */
void wrecord_at(const struct wrecord *r, uint32_t i, uint64_t *ret_off,
	uint64_t *ret_len);

#endif

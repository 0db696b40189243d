/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wrecord - what one record of a clone's stream says: a range of the disk was
 * written, or zeroed. Layout: FORMAT.md, "Write records".
 *
 * Units      bytes; off and len are multiples of 4096.
 */
#ifndef HIVEFS_WRECORD_H
#define HIVEFS_WRECORD_H

#include <stdint.h>

#include "src/cleanup.h"

#define WRECORD_HEAD 32u /* the data follows */

/* A write of 1 MiB that begins and ends within pages. */
#define WRECORD_PAGES_MAX 257u

enum wrecord_kind { WRECORD_DATA = 0, WRECORD_ZERO = 1 };

struct wrecord {
	enum wrecord_kind kind;
	uint64_t off, len;
};

void wrecord_write(enum wrecord_kind kind, uint64_t off, uint64_t len,
	uint8_t out[WRECORD_HEAD]);

/* -EBADMSG, quietly, if it is none for a disk of SIZE bytes. */
int must_check wrecord_parse(const uint8_t *payload, uint32_t len,
	uint64_t size, struct wrecord *ret);

#endif

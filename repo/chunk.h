/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chunk - a run of disk bytes that is stored once, keyed by its digest.
 *
 * A window of 4 MiB is cut into pages of 4 KiB. Zero pages are no chunk's. A
 * run of others is cut after a page whose XXH3 (fixed seed) is 0 mod 16, but
 * not before 16 KiB and at 128 KiB at the latest: 64 KiB on average, and the
 * same bytes give the same chunks wherever whole pages were moved to. File
 * systems place files on 4 KiB, so nothing finer pays: on a series of Debian
 * VM images this stored 1255 MB where byte-wise FastCDC stored 1243 and fixed
 * 64 KiB blocks 1382.
 *
 * Units      bytes.
 * Threads    a codec belongs to one thread; the rest is any thread.
 */
#ifndef HIVEFS_CHUNK_H
#define HIVEFS_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "src/cleanup.h"
#include "src/digest.h"

#define PAGE_LEN 4096u
#define CHUNK_MIN (16u << 10)
#define CHUNK_MAX (128u << 10)
#define WINDOW_LEN (4u << 20)
#define DISK_MAX (UINT64_C(64) << 40)

/*
 * Length of the chunk at the beginning of the LEN > 0 bytes that a window has
 * left at DATA. The run ends before a zero page; the last page may be short.
 */
size_t chunk_cut(const uint8_t *data, size_t len);

/* Is it a whole chunk whatever follows? LEN is what chunk_cut() returned. */
bool chunk_ends(const uint8_t *data, size_t len);

/* Length of the zero pages at the beginning of DATA, 0 if there are none. */
size_t chunk_zeroes(const uint8_t *data, size_t len);

/* One zstd context each way, kept for the life of a thread. */
struct codec;
int must_check codec_new(int level, struct codec **ret);
void codec_free(struct codec *c);
DEFINE_CLEANUP(struct codec *, codec_free);

/* chunk_encode() then takes compression at its word; a fifth faster. */
void codec_trust(struct codec *c);

/* Room that chunk_encode() needs for a document's body. */
#define CHUNK_BODY_MAX (CHUNK_MAX + 4096u)

/*
 * Writes the BSON body of the chunk document for LEN bytes to OUT, and reads
 * it back, unless codec_trust() was called: what is stored was seen to give
 * the same bytes. Stored raw when
 * compression saves less than 1/16.
 */
int must_check chunk_encode(struct codec *c, const void *plain, size_t len,
	uint8_t *out, uint32_t *ret_len);

/* Plain length that a body declares, checked to be 1 … CHUNK_MAX; -EBADMSG. */
int must_check chunk_plain_len(const void *body, uint32_t len, uint32_t *ret);

/*
 * Decodes a body into OUT, which has room for the length that the body declares
 * (chunk_plain_len(); at most CHUNK_MAX), and compares its digest.
 * -EBADMSG, logged with the digest, if anything is wrong.
 */
int must_check chunk_decode(struct codec *c, const struct digest *want,
	const void *body, uint32_t len, uint8_t *out, uint32_t *ret_len);

#endif

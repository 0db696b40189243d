/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc32c - the Castagnoli checksum (RFC 3720, appendix B.4), which the headers
 * of VHDX files carry. No library that hivefs uses anyway has it.
 *
 * Threads    any thread.
 */
#ifndef HIVEFS_CRC32C_H
#define HIVEFS_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC is 0 for the first bytes, then what was returned for those before. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/* The same of LEN zeroes. */
uint32_t crc32c_zeroes(uint32_t crc, size_t len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ceiling - how fast this machine can do the bare work of a backup or a read,
 * with no store and no file system behind it: what the bench divides by.
 *
 *   ceiling MODE FILE THREADS      prints bytes and seconds
 *
 * read       read and test for zeroes
 * hash       read, cut, hash
 * compress   read, cut, hash, compress
 * check      the same and decompress again, as a backup does by default
 * decode     decompress and hash chunks that lie in memory
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <zstd.h>

#include "repo/chunk.h"
#include "src/blk_file.h"
#include "src/bytes.h"
#include "src/pool.h"
#include "src/vec.h"

enum { THREADS_MAX = 64 };

struct body {
	struct digest digest;
	uint32_t len;
	uint8_t *data;
};

struct bodies vec(struct body);

struct bench {
	const char *mode;
	struct blk *source;
	struct codec *codec[THREADS_MAX];
	ZSTD_CCtx *compress[THREADS_MAX];
	uint8_t *window[THREADS_MAX];
	uint8_t *out[THREADS_MAX];
	struct bodies bodies[THREADS_MAX]; /* each thread keeps its own */
	struct bodies all;
	uint64_t plain[THREADS_MAX];
};

static int compress_only(struct bench *b, unsigned t, const void *p, size_t n)
{
	size_t r =
		ZSTD_compress2(b->compress[t], b->out[t], CHUNK_BODY_MAX, p, n);

	return ZSTD_isError(r) ? -EIO : 0;
}

static int keep(
	struct bench *b, unsigned t, const struct digest *d, uint32_t len)
{
	struct body body = { .digest = *d, .len = len, .data = malloc(len) };

	if (!body.data)
		return -ENOMEM;
	memcpy(body.data, b->out[t], len);
	return vec_add(&b->bodies[t], body);
}

static int one_chunk(struct bench *b, unsigned t, const uint8_t *p, size_t n)
{
	struct digest d = digest_of(p, n);
	uint32_t len;
	int r;

	b->plain[t] += n;
	if (strcmp(b->mode, "hash") == 0)
		return 0;
	if (strcmp(b->mode, "compress") == 0)
		return compress_only(b, t, p, n);
	r = chunk_encode(b->codec[t], p, n, b->out[t], &len);
	if (r == 0 && strcmp(b->mode, "decode") == 0)
		r = keep(b, t, &d, len);
	return r;
}

static int one_window(void *arg, uint64_t i, unsigned t)
{
	struct bench *b = arg;
	uint64_t off = i * WINDOW_LEN;
	size_t len =
		(size_t)MIN_OF(b->source->size - off, (uint64_t)WINDOW_LEN);
	int r = blk_pread(b->source, b->window[t], len, off);

	for (size_t at = 0, n; r == 0 && at < len; at += n) {
		const uint8_t *p = b->window[t] + at;

		n = chunk_zeroes(p, len - at);
		if (n)
			continue;
		if (strcmp(b->mode, "read") == 0) {
			n = MIN_OF(len - at, (size_t)PAGE_LEN);
			continue;
		}
		n = chunk_cut(p, len - at);
		r = one_chunk(b, t, p, n);
	}
	return r;
}

static int one_body(void *arg, uint64_t i, unsigned t)
{
	struct bench *b = arg;
	const struct body *body = &b->all.v[i];
	uint32_t len;

	return chunk_decode(b->codec[t], &body->digest, body->data, body->len,
		b->out[t], &len);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void gather(struct bench *b)
{
	for (unsigned t = 0; t < THREADS_MAX; t++)
		for (size_t i = 0; i < b->bodies[t].n; i++)
			if (vec_add(&b->all, b->bodies[t].v[i]) < 0)
				errx(1, "out of memory");
}

int main(int argc, char **argv)
{
	static struct bench b;
	unsigned n_threads;
	uint64_t bytes = 0;
	double begin;
	int fd;

	if (argc != 4)
		errx(2, "usage: ceiling read|hash|compress|check|decode FILE "
			"THREADS");
	b.mode = argv[1];
	n_threads = (unsigned)strtoul(argv[3], NULL, 10);
	fd = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (n_threads < 1 || n_threads > THREADS_MAX || fd < 0 ||
		blk_file_new(fd, argv[2], false, &b.source) < 0)
		errx(1, "%s: cannot be opened, or threads out of range",
			argv[2]);
	for (unsigned t = 0; t < n_threads; t++) {
		b.window[t] = malloc(WINDOW_LEN);
		b.out[t] = malloc(CHUNK_BODY_MAX);
		b.compress[t] = ZSTD_createCCtx();
		if (!b.window[t] || !b.out[t] || !b.compress[t] ||
			codec_new(1, &b.codec[t]) < 0)
			errx(1, "out of memory");
		ZSTD_CCtx_setParameter(
			b.compress[t], ZSTD_c_compressionLevel, 1);
	}
	begin = now();
	if (parallel_for(n_threads,
		    round_up(b.source->size, WINDOW_LEN) / WINDOW_LEN,
		    one_window, &b) < 0)
		errx(1, "%s: failed", argv[2]);
	if (strcmp(b.mode, "decode") == 0) {
		gather(&b);
		begin = now();
		if (parallel_for(n_threads, b.all.n, one_body, &b) < 0)
			errx(1, "%s: failed", argv[2]);
	}
	for (unsigned t = 0; t < n_threads; t++)
		bytes += b.plain[t];
	if (strcmp(b.mode, "read") == 0)
		bytes = b.source->size;
	printf("%llu %.6f\n", (unsigned long long)bytes, now() - begin);
	return 0;
}

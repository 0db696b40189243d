/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ceiling - how fast this machine does the bare work of a backup or a read,
 * with no store, no map and no file system of ours: what the bench divides by.
 *
 *   ceiling MODE FILE THREADS [OFF LEN]    prints bytes and seconds
 *
 * read       read, holes too
 * hash       read what is no hole, SHA-256
 * compress   the same, then zstd 1
 * check      the same, then decompress and compare, as a backup does
 * decode     decompress, SHA-256: of compressed blocks that lie in memory
 * dense      prints the offset, a multiple of LEN, of the LEN bytes with the
 *            least holes
 *
 * Blocks of 64 KiB, as long as a chunk is on average, without being looked for;
 * read 256 KiB at a time into memory that stays in a processor's cache.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zstd.h>

#include "src/blk_file.h"
#include "src/bytes.h"
#include "src/digest.h"
#include "src/pool.h"
#include "src/vec.h"

enum { THREADS_MAX = 64, LEVEL = 1 };

#define PIECE (4u << 20) /* handed to a thread */
#define STEP (256u << 10)
#define BLOCK (64u << 10)
#define PACKED_MAX ZSTD_COMPRESSBOUND(BLOCK)

enum mode { READ, HASH, COMPRESS, CHECK, DECODE };

static const char *const modes[] = {
	[READ] = "read",
	[HASH] = "hash",
	[COMPRESS] = "compress",
	[CHECK] = "check",
	[DECODE] = "decode",
};

struct body {
	struct digest digest;
	uint32_t plain, len;
	uint8_t *data;
};

struct bodies vec(struct body);

/* Of one thread. */
struct worker {
	ZSTD_CCtx *compress;
	ZSTD_DCtx *decompress;
	uint64_t bytes;
	struct bodies bodies;
	uint8_t step[STEP], packed[PACKED_MAX], plain[BLOCK];
};

struct bench {
	enum mode mode;
	struct blk *source;
	uint64_t off, end;
	struct worker *workers[THREADS_MAX];
	struct bodies bodies;
};

static int decompress(struct worker *w, const void *data, size_t len, size_t n)
{
	return ZSTD_decompressDCtx(w->decompress, w->plain, BLOCK, data, len) ==
			       n
		       ? 0
		       : -EIO;
}

static int keep(
	struct worker *w, const struct digest *d, size_t plain, size_t len)
{
	struct body body = { .digest = *d,
		.plain = (uint32_t)plain,
		.len = (uint32_t)len,
		.data = malloc(len) };

	if (!body.data)
		return -ENOMEM;
	memcpy(body.data, w->packed, len);
	return vec_add(&w->bodies, body);
}

static int one_block(
	const struct bench *b, struct worker *w, const uint8_t *p, size_t n)
{
	struct digest d;
	size_t len;
	int r;

	w->bytes += n;
	if (b->mode == READ)
		return 0;
	d = digest_of(p, n);
	if (b->mode == HASH)
		return 0;
	len = ZSTD_compress2(w->compress, w->packed, PACKED_MAX, p, n);
	if (ZSTD_isError(len))
		return -EIO;
	if (b->mode == COMPRESS)
		return 0;
	if (b->mode == DECODE)
		return keep(w, &d, n, len);
	r = decompress(w, w->packed, len, n);
	return r < 0 || memcmp(w->plain, p, n) == 0 ? r : -EIO;
}

static int one_extent(
	const struct bench *b, struct worker *w, uint64_t off, uint64_t end)
{
	int r = 0;

	while (r == 0 && off < end) {
		size_t len = (size_t)MIN_OF(end - off, (uint64_t)STEP);

		r = blk_pread(b->source, w->step, len, off);
		for (size_t at = 0, n; r == 0 && at < len; at += n) {
			n = MIN_OF(len - at, (size_t)BLOCK);
			r = one_block(b, w, w->step + at, n);
		}
		off += len;
	}
	return r;
}

static int one_piece(void *arg, uint64_t i, unsigned t)
{
	const struct bench *b = arg;
	uint64_t off = b->off + i * PIECE;
	uint64_t end = MIN_OF(off + PIECE, b->end);
	int r = 0;

	while (r == 0 && off < end) {
		struct blk_extent e = { .len = end - off, .kind = BLK_DATA };

		if (b->mode != READ)
			r = blk_extent(b->source, off, end - off, &e);
		if (r == 0 && e.kind == BLK_DATA)
			r = one_extent(b, b->workers[t], off, off + e.len);
		off += e.len;
	}
	return r;
}

static int one_body(void *arg, uint64_t i, unsigned t)
{
	const struct bench *b = arg;
	const struct body *body = &b->bodies.v[i];
	struct worker *w = b->workers[t];
	struct digest got;

	if (decompress(w, body->data, body->len, body->plain) < 0)
		return -EIO;
	got = digest_of(w->plain, body->plain);
	return digest_eq(&got, &body->digest) ? 0 : -EIO;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void gather(struct bench *b, unsigned n_threads)
{
	for (unsigned t = 0; t < n_threads; t++)
		for (size_t i = 0; i < b->workers[t]->bodies.n; i++)
			if (vec_add(&b->bodies, b->workers[t]->bodies.v[i]) < 0)
				errx(1, "out of memory");
}

static void run(struct bench *b, unsigned n_threads, const char *name)
{
	double begin = now();
	uint64_t bytes = 0;

	if (parallel_for(n_threads, round_up(b->end - b->off, PIECE) / PIECE,
		    one_piece, b) < 0)
		errx(1, "%s: failed", name);
	if (b->mode == DECODE) {
		gather(b, n_threads);
		begin = now();
		if (parallel_for(n_threads, b->bodies.n, one_body, b) < 0)
			errx(1, "%s: decoding failed", name);
	}
	for (unsigned t = 0; t < n_threads; t++)
		bytes += b->workers[t]->bytes;
	printf("%llu %.6f\n", (unsigned long long)bytes, now() - begin);
}

static uint64_t data_within(struct blk *source, uint64_t off, uint64_t end)
{
	uint64_t data = 0;
	struct blk_extent e;

	for (; off < end; off += e.len) {
		if (blk_extent(source, off, end - off, &e) < 0)
			errx(1, "%s: failed", source->name);
		if (e.kind == BLK_DATA)
			data += e.len;
	}
	return data;
}

static void dense(struct blk *source, uint64_t len)
{
	uint64_t best = 0, most = 0;

	for (uint64_t off = 0; off + len <= source->size; off += len) {
		uint64_t data = data_within(source, off, off + len);

		if (data > most) {
			most = data;
			best = off;
		}
	}
	printf("%llu\n", (unsigned long long)best);
}

static struct worker *worker_new(void)
{
	struct worker *w = calloc(1, sizeof(*w));

	if (w) {
		w->compress = ZSTD_createCCtx();
		w->decompress = ZSTD_createDCtx();
	}
	if (!w || !w->compress || !w->decompress ||
		ZSTD_isError(ZSTD_CCtx_setParameter(
			w->compress, ZSTD_c_compressionLevel, LEVEL)))
		errx(1, "out of memory");
	return w;
}

static uint64_t number(const char *text)
{
	char *end;
	unsigned long long v = strtoull(text, &end, 10);

	if (end == text || *end)
		errx(2, "'%s' is not a number", text);
	return v;
}

int main(int argc, char **argv)
{
	static struct bench b;
	unsigned n_threads, mode = 0;
	int fd;

	if (argc != 4 && argc != 6)
		errx(2, "usage: ceiling read|hash|compress|check|decode|dense "
			"FILE THREADS [OFF LEN]");
	fd = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		err(1, "%s", argv[2]);
	if (blk_file_new(fd, argv[2], false, &b.source) < 0)
		return 1;
	n_threads = (unsigned)MIN_OF(number(argv[3]), (uint64_t)THREADS_MAX);
	b.end = b.source->size;
	if (argc == 6) {
		b.off = number(argv[4]);
		b.end = MIN_OF(b.off + number(argv[5]), b.source->size);
	}
	if (strcmp(argv[1], "dense") == 0) {
		dense(b.source, b.end - b.off);
		return 0;
	}
	while (mode < N_ELEMS(modes) && strcmp(argv[1], modes[mode]) != 0)
		mode++;
	if (mode == N_ELEMS(modes) || n_threads < 1 || b.off >= b.end)
		errx(2, "no such mode, no threads, or nothing to read");
	b.mode = (enum mode)mode;
	for (unsigned t = 0; t < n_threads; t++)
		b.workers[t] = worker_new();
	run(&b, n_threads, argv[2]);
	return 0;
}

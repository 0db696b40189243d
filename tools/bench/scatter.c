/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scatter - small writes all over a disk that is mostly holes.
 *
 *   scatter make FILE PIECES IMAGE   lays the first PIECES × 128 KiB of IMAGE
 *                                    out evenly over FILE, a sparse TiB
 *   scatter write FILE PIECES N SEED
 *                                    writes N pages of 4 KiB, every other one
 *                                    into a piece, and prints the seconds
 *
 * Where and what is the same each time, for a SEED.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/bytes.h"

#define SIZE (UINT64_C(1) << 40)
#define PIECE (128u << 10)
#define PAGE 4096u

static uint64_t state = 1;

static uint64_t rnd(uint64_t below)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (state >> 24) % below;
}

static uint64_t number(const char *text)
{
	char *end;
	unsigned long long v = strtoull(text, &end, 10);

	if (end == text || *end || v == 0)
		errx(2, "'%s' is not a number", text);
	return v;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t piece_at(uint64_t i, uint64_t n_pieces)
{
	return round_down(SIZE / n_pieces * i, (uint64_t)PIECE);
}

static int make(const char *file, uint64_t n_pieces, const char *image)
{
	static uint8_t buf[PIECE];
	int in = open(image, O_RDONLY | O_CLOEXEC);
	int out = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (in < 0 || out < 0 || ftruncate(out, (off_t)SIZE) != 0)
		err(1, "%s", in < 0 ? image : file);
	for (uint64_t i = 0; i < n_pieces; i++) {
		ssize_t n = pread(in, buf, sizeof(buf), (off_t)(i * PIECE));

		if (n <= 0)
			errx(1, "%s: is too short", image);
		if (pwrite(out, buf, (size_t)n, (off_t)piece_at(i, n_pieces)) !=
			n)
			err(1, "%s", file);
	}
	close(in);
	return close(out);
}

static int scatter_pages(const char *file, uint64_t n_pieces, uint64_t n)
{
	uint8_t *page = aligned_alloc(PAGE, PAGE);
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	double begin = now();

	if (fd < 0 || !page)
		err(1, "%s", file);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t off = rnd(SIZE / PAGE) * PAGE;

		if (i % 2)
			off = piece_at(rnd(n_pieces), n_pieces) +
			      rnd(PIECE / PAGE) * PAGE;
		for (size_t k = 0; k < PAGE; k += 8)
			put_le64(page + k, rnd(UINT64_C(1) << 40));
		if (pwrite(fd, page, PAGE, (off_t)off) != PAGE)
			err(1, "%s", file);
	}
	if (close(fd) != 0)
		err(1, "%s", file);
	printf("%.6f\n", now() - begin);
	free(page);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "make") == 0)
		return make(argv[2], number(argv[3]), argv[4]) != 0;
	if (argc == 6 && strcmp(argv[1], "write") == 0) {
		state = number(argv[5]);
		return scatter_pages(argv[2], number(argv[3]), number(argv[4]));
	}
	errx(2, "usage: scatter make FILE PIECES IMAGE | "
		"scatter write FILE PIECES N SEED");
}

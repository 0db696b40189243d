/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy_points - gives the newest point of a machine N older twins, an hour
 * apart: a repository with many points, in no time.
 *
 *   copy_points REPOSITORY MACHINE N
 */
#include <err.h>
#include <stdlib.h>

#include "repo/machine.h"
#include "repo/point.h"

struct twins {
	struct repo *repo;
	int64_t n;
};

static int copy(void *arg, const struct point *p)
{
	struct twins *twins = arg;
	struct point twin = *p;

	for (int64_t i = 1; i <= twins->n; i++) {
		int r;

		twin.id.time = p->id.time - 3600 * i;
		twin.id.writer = uuid_random();
		r = point_insert(twins->repo, &twin);
		if (r < 0)
			return r;
	}
	return 1;
}

int main(int argc, char **argv)
{
	struct twins twins;
	struct uuid machine;

	if (argc != 4)
		errx(2, "usage: copy_points REPOSITORY MACHINE N");
	twins.n = atoi(argv[3]);
	if (repo_open(argv[1], 0, &twins.repo) < 0 ||
		machine_get(twins.repo, argv[2], &machine) < 0 ||
		point_list(twins.repo, &machine, true, copy, &twins) != 1)
		errx(1, "no luck");
	repo_close(twins.repo);
	return 0;
}

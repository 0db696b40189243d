/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/fs.h"

#include <time.h>

#include "fs/handle.h"

int fs_init(
	struct fs *fs, struct repo *r, uint64_t cache_bound, const char *place)
{
	int err;

	*fs = (struct fs){ .repo = r };
	err = cache_new(r, cache_bound, &fs->cache);
	if (err < 0)
		return err;
	err = prefetch_init(
		&fs->prefetch, cache_bound, store_threads(r->store));
	if (err < 0) {
		cache_free(fs->cache);
		return err;
	}
	branches_init(&fs->branches, fs->cache, place);
	foreigns_init(&fs->foreigns);
	tree_init(&fs->tree, r, &fs->branches, &fs->foreigns, time(NULL));
	commits_init(&fs->commits);
	pthread_mutex_init(&fs->lock, NULL);
	return 0;
}

void fs_fini(struct fs *fs)
{
	/* tasks hold views, views the cache */
	prefetch_fini(&fs->prefetch);
	while (fs->handles)
		handle_free(fs, fs->handles);
	commits_fini(&fs->commits);
	tree_fini(&fs->tree);
	foreigns_fini(&fs->foreigns);
	branches_fini(&fs->branches);
	cache_free(fs->cache);
	pthread_mutex_destroy(&fs->lock);
}

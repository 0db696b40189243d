/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "src/image_chain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/image_refs.h"
#include "src/image_vmdk.h"
#include "src/log.h"

/* more than people stack; every layer's options are on one command line */
#define MAX_LAYERS 64

struct walk {
	struct image_chain *chain;
	FILE *opts;
	char *home; /* the folder of the top image, canonical */
	bool outside;
};

struct layer {
	char *path; /* canonical */
	enum image_format format;
	bool format_said;
	unsigned depth;
};

/* [backing.backing.]KEY=VALUE, with commas doubled as qemu wants them */
static void put_opt(FILE *f, unsigned depth, const char *key, const char *value)
{
	if (ftell(f) > 0)
		fputc(',', f);
	while (depth-- > 0)
		fputs("backing.", f);
	fprintf(f, "%s=", key);
	for (; *value; value++) {
		if (*value == ',')
			fputc(',', f);
		fputc(*value, f);
	}
}

static char *folder_of(const char *path)
{
	size_t n = (size_t)(strrchr(path, '/') - path);

	return strndup(path, n ? n : 1);
}

static bool is_below(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	if (strcmp(folder, "/") == 0)
		return true;
	return strncmp(path, folder, n) == 0 && path[n] == '/';
}

/* What OWNER calls NAME, as a canonical path, if it may be opened. */
static int resolve(struct walk *w, const char *owner, const char *what,
	const char *name, char **ret)
{
	scoped(freep) char *folder = folder_of(owner);
	scoped(freep) char *joined = NULL;
	scoped(freep) char *path = NULL;
	size_t colon;

	if (strncmp(name, "file:", 5) == 0)
		name += 5;
	colon = strcspn(name, ":/");
	if (name[colon] == ':')
		return fail(EINVAL,
			"%s: its %s is not a plain file but '%s': flatten it "
			"first (qemu-img convert)",
			owner, what, name);
	if (!folder || asprintf(&joined, "%s%s%s", name[0] == '/' ? "" : folder,
			       name[0] == '/' ? "" : "/", name) < 0) {
		joined = NULL;
		return fail(ENOMEM, "%s: %m", owner);
	}
	path = realpath(joined, NULL);
	if (!path)
		return fail(errno, "%s: its %s %s: %m", owner, what, joined);
	if (!w->outside && !is_below(path, w->home))
		return fail(EINVAL,
			"%s: its %s %s is outside of the image's own folder: "
			"say --outside-backing if the image is to be trusted",
			owner, what, path);
	*ret = take(path);
	return 0;
}

/* Takes PATH, also on failure. */
static int add_file(struct walk *w, char *path, bool own)
{
	if (vec_add(&w->chain->files, path) < 0) {
		free(path);
		return fail(ENOMEM, "image chain: %m");
	}
	w->chain->n_own += own;
	return 0;
}

static void put_file(
	struct walk *w, unsigned depth, bool is_device, const char *path)
{
	put_opt(w->opts, depth, "file.driver",
		is_device ? "host_device" : "file");
	put_opt(w->opts, depth, "file.filename", path);
}

static int add_data_file(
	struct walk *w, const struct layer *l, const char *name)
{
	char *path = NULL;
	scoped(closep) int fd = -1;
	bool is_device = false;
	uint64_t size;
	int r = resolve(w, l->path, "data file", name, &path);

	if (r == 0)
		r = image_open(path, &fd, &is_device, &size);
	if (r < 0) {
		free(path);
		return r;
	}
	put_opt(w->opts, l->depth, "data-file.driver",
		is_device ? "host_device" : "file");
	put_opt(w->opts, l->depth, "data-file.filename", path);
	return add_file(w, path, l->depth == 0);
}

/* qemu finds it by the descriptor; here it is only looked at. */
static int add_extent(
	struct walk *w, const struct layer *l, const struct image_extent *e)
{
	char *path = NULL;
	scoped(closep) int fd = -1;
	bool is_device = false;
	uint64_t size;
	int r = resolve(w, l->path, "extent", e->name, &path);

	if (r == 0)
		r = image_open(path, &fd, &is_device, &size);
	if (r == 0 && e->has_header)
		r = vmdk_extent_check(fd, path);
	if (r < 0) {
		free(path);
		return r;
	}
	return add_file(w, path, l->depth == 0);
}

/* The layer below L; its format as recorded, else by its name. */
static int next_layer(struct walk *w, const struct layer *l,
	const struct image_refs *refs, struct layer *ret)
{
	struct layer next = { .depth = l->depth + 1 };
	int r;

	if (next.depth == MAX_LAYERS)
		return fail(EINVAL, "%s: more than %d layers of backing files",
			w->chain->files.v[0], MAX_LAYERS);
	r = resolve(w, l->path, "backing file", refs->backing, &next.path);
	if (r < 0)
		return r;
	next.format = image_format_of_path(next.path);
	next.format_said = refs->backing_driver != NULL;
	if (next.format_said &&
		image_format_named(refs->backing_driver, &next.format) < 0) {
		free(next.path);
		return fail(EINVAL,
			"%s: its backing file is of an unknown format, '%s'",
			l->path, refs->backing_driver);
	}
	*ret = next;
	return 0;
}

/*
 * Adds L, whose path it takes, and looks for what is below: 1 and *ret_next if
 * there is something.
 */
static int add_layer(struct walk *w, struct layer *l, struct layer *ret_next)
{
	scoped(image_refs_fini) struct image_refs refs = { 0 };
	scoped(closep) int fd = -1;
	bool is_device = false;
	uint64_t size;
	int r = add_file(w, l->path, l->depth == 0);

	if (r == 0)
		r = image_open(l->path, &fd, &is_device, &size);
	if (r == 0)
		r = image_format_check(
			fd, l->path, size, l->format, l->format_said);
	if (r == 0)
		r = image_refs_read(fd, l->path, l->format, &refs);
	if (r < 0)
		return r;
	put_opt(w->opts, l->depth, "driver", image_format_driver(l->format));
	/* its geometry, which the driver may prefer, is rounded down */
	if (l->format == IMAGE_VHD)
		put_opt(w->opts, l->depth, "force_size_calc", "current_size");
	put_file(w, l->depth, is_device, l->path);
	if (refs.data_file)
		r = add_data_file(w, l, refs.data_file);
	for (size_t i = 0; r == 0 && i < refs.extents.n; i++)
		r = add_extent(w, l, &refs.extents.v[i]);
	if (r == 0 && refs.backing) {
		r = next_layer(w, l, &refs, ret_next);
		return r < 0 ? r : 1;
	}
	return r;
}

static int walk(struct walk *w, const char *path, enum image_format f)
{
	struct layer l = { .format = f, .format_said = true };
	int r;

	l.path = realpath(path, NULL);
	if (!l.path)
		return fail(errno, "%s: %m", path);
	w->home = folder_of(l.path);
	if (!w->home) {
		free(l.path);
		return fail(ENOMEM, "%s: %m", path);
	}
	while ((r = add_layer(w, &l, &l)) > 0)
		;
	return r;
}

int image_chain_read(const char *path, enum image_format f, bool outside,
	bool force_share, struct image_chain *ret)
{
	struct image_chain chain = { 0 };
	struct walk w = { .chain = &chain, .outside = outside };
	size_t len;
	int r;

	w.opts = open_memstream(&chain.image_opts, &len);
	if (!w.opts)
		return fail(errno, "%s: %m", path);
	r = walk(&w, path, f);
	if (r == 0 && force_share)
		put_opt(w.opts, 0, "force-share", "on");
	free(w.home);
	if (fclose(w.opts) != 0 && r == 0)
		r = fail(errno, "%s: %m", path);
	if (r < 0) {
		image_chain_fini(&chain);
		return r;
	}
	*ret = chain;
	return 0;
}

void image_chain_fini(struct image_chain *c)
{
	for (size_t i = 0; i < c->files.n; i++)
		free(c->files.v[i]);
	vec_fini(&c->files);
	free(c->image_opts);
}

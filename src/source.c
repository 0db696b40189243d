/* SPDX-License-Identifier: Apache-2.0 */
#include "src/source.h"

#include <errno.h>
#include <string.h>

#include "src/blk_file.h"
#include "src/blk_nbd.h"
#include "src/image.h"
#include "src/image_chain.h"
#include "src/in_use.h"
#include "src/log.h"
#include "src/text.h"

/* what maps and formats are made for */
#define MAX_SIZE (64ULL << 40)

static int check_size(const struct blk *b)
{
	char text[16];

	if (b->size == 0)
		return fail(EINVAL, "%s: is empty", b->name);
	if (b->size % 512)
		return fail(EINVAL,
			"%s: its size, %llu bytes, is not a multiple of 512: "
			"no disk, or cut off",
			b->name, (unsigned long long)b->size);
	if (b->size > MAX_SIZE)
		return fail(EINVAL,
			"%s: %s is more than the largest disk, "
			"64 TiB",
			b->name, size_text(b->size, text));
	return 0;
}

static int open_export(
	const char *uri, const struct source_options *options, struct blk **ret)
{
	if (options->format && strcmp(options->format, "raw") != 0)
		return fail(EINVAL,
			"%s: an NBD export is always raw, not %s: its server "
			"reads the format",
			uri, options->format);
	return blk_nbd_open(uri, ret);
}

static int choose_format(const char *path, bool is_device,
	const struct source_options *options, enum image_format *ret)
{
	if (!options->format) {
		*ret = is_device ? IMAGE_RAW : image_format_of_path(path);
		return 0;
	}
	if (image_format_named(options->format, ret) < 0)
		return fail(EINVAL,
			"%s: no such format: raw, qcow2, vmdk, vhd, vhdx or "
			"vdi",
			options->format);
	return 0;
}

/* In use is in use, for whatever it is the user accepts it. */
static int check_use(int fd, const char *path,
	const struct source_options *options, bool *in_out)
{
	int r = in_use(fd, path);

	if (r <= 0)
		return r;
	*in_out = true;
	if (options->in_use)
		return 0;
	return fail(EBUSY,
		"%s: is in use (a running virtual machine?): shut it down, "
		"snapshot it, or back up a smear with --in-use",
		path);
}

/* The parts of an image that are files of their own. */
static int check_use_of_parts(const struct image_chain *c,
	const struct source_options *options, bool *in_out)
{
	int r = 0;

	for (size_t i = 1; i < c->n_own && r == 0; i++) {
		scoped(closep) int fd = -1;
		bool is_device;
		uint64_t size;

		r = image_open(c->files.v[i], &fd, &is_device, &size);
		if (r == 0)
			r = check_use(fd, c->files.v[i], options, in_out);
	}
	return r;
}

static int open_chain(const char *path, enum image_format f,
	const struct source_options *options, bool *in_out, struct blk **ret)
{
	scoped(image_chain_fini) struct image_chain c = { 0 };
	scoped(blk_closep) struct blk *b = NULL;
	int r = image_chain_read(
		path, f, options->outside_backing, options->in_use, &c);

	if (r == 0)
		r = check_use_of_parts(&c, options, in_out);
	if (r == 0)
		r = blk_nbd_spawn(c.image_opts, path, &b);
	for (size_t i = 0; i < c.files.n && r == 0; i++)
		r = blk_nbd_watch(b, c.files.v[i]);
	if (r < 0)
		return r;
	*ret = take(b);
	return 0;
}

static int open_path(const char *path, const struct source_options *options,
	bool *in_out, struct blk **ret)
{
	scoped(closep) int fd = -1;
	enum image_format f;
	bool is_device;
	uint64_t size;
	int r = image_open(path, &fd, &is_device, &size);

	if (r == 0 && size == 0)
		r = fail(EINVAL, "%s: is empty", path);
	if (r == 0)
		r = choose_format(path, is_device, options, &f);
	if (r == 0)
		r = image_format_check(
			fd, path, size, f, options->format != NULL);
	if (r == 0)
		r = check_use(fd, path, options, in_out);
	if (r < 0)
		return r;
	if (f != IMAGE_RAW)
		return open_chain(path, f, options, in_out, ret);
	return blk_file_new(take_fd(fd), path, false, ret);
}

int source_open(const char *spec, const struct source_options *options,
	struct blk **ret, bool *ret_in_use)
{
	scoped(blk_closep) struct blk *b = NULL;
	bool used = false;
	int r;

	if (strncmp(spec, "nbd://", 6) == 0 ||
		strncmp(spec, "nbd+unix://", 11) == 0)
		r = open_export(spec, options, &b);
	else if (strstr(spec, "://"))
		r = fail(EINVAL,
			"%s: neither a path nor nbd:// nor nbd+unix://", spec);
	else
		r = open_path(spec, options, &used, &b);
	if (r == 0)
		r = check_size(b);
	if (r < 0)
		return r;
	*ret = take(b);
	*ret_in_use = used;
	return 0;
}

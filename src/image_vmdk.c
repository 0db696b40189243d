/* SPDX-License-Identifier: Apache-2.0 */
#include "src/image_vmdk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/bytes.h"
#include "src/log.h"

/* qemu's limits: of a text descriptor, and of where a parent is looked for */
#define MAX_TEXT ((1U << 20) - 1)
#define MAX_PARENT_TEXT (20U * 512)

/* Up to LEN bytes at OFF as a string. */
static int read_text(
	int fd, const char *path, size_t len, uint64_t off, char **ret)
{
	scoped(freep) char *text = malloc(len + 1);
	size_t have;
	int r;

	if (!text)
		return fail(ENOMEM, "%s: %m", path);
	r = image_read(fd, path, text, len, off, &have);
	if (r < 0)
		return r;
	text[have] = 0;
	*ret = take(text);
	return 0;
}

static int parent(char *text, struct image_refs *refs)
{
	static const char key[] = "parentFileNameHint";
	char *name, *end;

	if (strlen(text) > MAX_PARENT_TEXT)
		text[MAX_PARENT_TEXT] = 0;
	name = strstr(text, key);
	if (!name || strlen(name) < strlen(key) + 2)
		return 0;
	name += strlen(key) + 2; /* =" */
	end = strchr(name, '"');
	if (!end)
		return 0;
	refs->backing = strndup(name, (size_t)(end - name));
	refs->backing_driver = strdup("vmdk");
	if (!refs->backing || !refs->backing_driver)
		return fail(ENOMEM, "vmdk descriptor: %m");
	return 0;
}

/* Those of a type with a header of their own; -1: unknown to qemu. */
static int type_has_header(const char *type)
{
	static const char *const types[] = { "FLAT", "VMFS", "SPARSE",
		"VMFSSPARSE", "SESPARSE" };

	for (size_t i = 0; i < N_ELEMS(types); i++) {
		if (strcmp(type, types[i]) == 0)
			return i >= 2;
	}
	return -1;
}

/* One line: RW SECTORS TYPE "NAME" [OFFSET] */
static int extent(const char *path, const char *line, struct image_refs *refs)
{
	char access[11], type[11], name[512];
	int64_t sectors, offset;
	struct image_extent e;
	/* NOLINTNEXTLINE(cert-err34-c): saturates */
	int n = sscanf(line, "%10s %" SCNd64 " %10s \"%511[^\n\r\"]\" %" SCNd64,
		access, &sectors, type, name, &offset);

	if (n < 2 ||
		(strcmp(access, "RW") != 0 && strcmp(access, "RDONLY") != 0 &&
			strcmp(access, "NOACCESS") != 0))
		return 0;
	/* such a line qemu skips, and so moves what follows it */
	if (n < 4 || strcmp(access, "RW") != 0 || sectors <= 0 ||
		type_has_header(type) < 0)
		return fail(EINVAL, "%s: an extent qemu cannot read: %.*s",
			path, (int)strcspn(line, "\r\n"), line);
	e.has_header = type_has_header(type);
	e.name = strdup(name);
	if (!e.name || vec_add(&refs->extents, e) < 0) {
		free(e.name);
		return fail(ENOMEM, "%s: %m", path);
	}
	return 0;
}

int vmdk_extent_check(int fd, const char *path)
{
	unsigned char header[20];
	size_t len;
	int r = image_read(fd, path, header, sizeof(header), 0, &len);

	if (r < 0)
		return r;
	if (len < sizeof(header))
		return fail(EINVAL, "%s: damaged: its header is cut off", path);
	if (memcmp(header, "KDMV", 4) == 0 && get_le64(header + 12) == 0)
		return fail(EINVAL, "%s: damaged: its capacity is 0", path);
	return 0;
}

int vmdk_refs(int fd, const char *path, struct image_refs *refs)
{
	scoped(freep) char *text = NULL;
	const char *line;
	int r = read_text(fd, path, MAX_TEXT, 0, &text);

	if (r < 0)
		return r;
	/* the descriptor within a sparse file: its extent is the file itself */
	if (strncmp(text, "KDMV", 4) == 0 || strncmp(text, "COWD", 4) == 0) {
		r = vmdk_extent_check(fd, path);
		free(take(text));
		if (r == 0)
			r = read_text(fd, path, MAX_PARENT_TEXT, 512, &text);
		return r < 0 ? r : parent(text, refs);
	}
	for (line = text; r == 0 && *line; line += *line == '\n') {
		r = extent(path, line, refs);
		line += strcspn(line, "\n");
	}
	if (r == 0 && refs->extents.n == 0)
		r = fail(EINVAL, "%s: a descriptor without extents", path);
	return r < 0 ? r : parent(text, refs);
}

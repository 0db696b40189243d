/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "formats/vmdk.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/derive.h"
#include "formats/raw.h"
#include "formats/slice.h"

#define SECTOR 512u
/*
 * Newlines fill it up. Old qemu writes 10240 bytes of it whatever it was long,
 * new ones a multiple of 512: neither makes it grow.
 */
#define DESCRIPTOR 12288u
#define DESCRIPTOR_MAX (UINT64_C(1) << 20)

static int vmdk_layout(uint64_t guest, uint32_t sector_size, struct layout *ret)
{
	if (guest == 0 || guest % SECTOR || sector_size != SECTOR)
		return -EFBIG;
	*ret = (struct layout){
		.guest = guest, .sector_size = sector_size, .prefix = DESCRIPTOR
	};
	return 0;
}

static int flat_layout(uint64_t guest, uint32_t sector_size, struct layout *ret)
{
	struct layout descriptor;

	return vmdk_layout(guest, sector_size, &descriptor)
		       ?: format_raw.layout(guest, sector_size, ret);
}

struct geometry {
	uint64_t cylinders;
	unsigned heads, sectors;
};

/* As VMware sets it for SCSI disks. */
static struct geometry geometry(uint64_t sectors)
{
	struct geometry g = { .heads = 255, .sectors = 63 };

	if (sectors < UINT64_C(2) << 20)
		g = (struct geometry){ .heads = 64, .sectors = 32 };
	else if (sectors < UINT64_C(4) << 20)
		g = (struct geometry){ .heads = 128, .sectors = 32 };
	g.cylinders = MAX_OF(sectors / (g.heads * g.sectors), UINT64_C(1));
	return g;
}

static const struct {
	const char *create_type, *extent, *ending, *tail;
} kinds[] = {
	[VMDK_FLAT] = { "monolithicFlat", "FLAT", "-flat", " 0" },
	[VMDK_VMFS] = { "vmfs", "VMFS", "-flat", "" },
	[VMDK_SPARSE] = { "monolithicSparse", "SPARSE", "", "" },
	[VMDK_STREAM] = { "streamOptimized", "SPARSE", "", "" },
};

/*
 * "# The Disk Data Base" must be there to the letter for libvmdk, and without
 * the uuids VirtualBox writes the text anew when it opens it.
 */
void vmdk_describe(uint64_t guest, const struct identity *id,
	enum vmdk_kind kind, char *text, size_t len)
{
	struct uuid image = derive_uuid(id, "vmdk");
	struct uuid modified = derive_uuid(id, "vmdk modification");
	char image_text[UUID_TEXT], modified_text[UUID_TEXT];
	bool apart = kind == VMDK_FLAT || kind == VMDK_VMFS;
	uint64_t sectors = guest / SECTOR;
	struct geometry g = geometry(sectors);
	int n = snprintf(text, len,
		"# Disk DescriptorFile\n"
		"version=1\n"
		"encoding=\"UTF-8\"\n"
		"CID=%08" PRIx32 "\n"
		"parentCID=ffffffff\n"
		"createType=\"%s\"\n"
		"\n"
		"# Extent description\n"
		"RW %" PRIu64 " %s \"%s%s.vmdk\"%s\n"
		"\n"
		"# The Disk Data Base\n"
		"#DDB\n"
		"\n"
		"ddb.virtualHWVersion = \"8\"\n"
		"ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
		"ddb.geometry.heads = \"%u\"\n"
		"ddb.geometry.sectors = \"%u\"\n"
		"ddb.adapterType = \"lsilogic\"\n"
		"ddb.uuid.image=\"%s\"\n"
		"ddb.uuid.modification=\"%s\"\n"
		"ddb.uuid.parent=\"00000000-0000-0000-0000-000000000000\"\n"
		"ddb.uuid.parentmodification="
		"\"00000000-0000-0000-0000-000000000000\"\n",
		/* neither "no parent" nor "never written" */
		get_be32(image.b) & UINT32_C(0x7fffffff),
		kinds[kind].create_type, sectors, kinds[kind].extent, id->name,
		kinds[kind].ending, kinds[kind].tail, g.cylinders, g.heads,
		g.sectors, uuid_text(&image, image_text),
		uuid_text(&modified, modified_text));

	assert(n > 0 && (size_t)n < len);
	memset(text + n, apart ? '\n' : 0, len - (size_t)n);
}

static int vmdk_metadata(const struct layout *l, const struct identity *id,
	const struct format_disk *d, uint64_t off, size_t len, uint8_t *out)
{
	struct slice s = slice_init(off, len, out);
	char text[DESCRIPTOR];

	(void)d;
	vmdk_describe(l->guest, id, id->vmfs ? VMDK_VMFS : VMDK_FLAT, text,
		sizeof(text));
	slice_put(&s, 0, text, sizeof(text));
	return 0;
}

static bool has(const uint8_t *bytes, size_t len, const char *text)
{
	return memmem(bytes, len, text, strlen(text)) != NULL;
}

/* Who writes it anew keeps its kind and the file that has the disk's bytes. */
static bool vmdk_leads(const uint8_t *bytes, size_t len)
{
	static const char first[] = "# Disk DescriptorFile";

	return len >= sizeof(first) &&
	       memcmp(bytes, first, sizeof(first) - 1) == 0 &&
	       has(bytes, len, "createType") && has(bytes, len, "-flat.vmdk\"");
}

/* Not the header of a sparse extent in the place of the text. */
static int vmdk_check_write(
	const struct layout *l, uint64_t off, size_t len, const uint8_t *bytes)
{
	(void)l;
	return off == 0 && len && bytes[0] != '#' ? -EIO : 0;
}

const struct format format_vmdk = {
	.number = 1,
	.name = "vmdk",
	.ending = ".vmdk",
	.max_size = DESCRIPTOR_MAX,
	.layout = vmdk_layout,
	.metadata = vmdk_metadata,
	.leads = vmdk_leads,
	.check_write = vmdk_check_write,
};

const struct format format_vmdk_flat = {
	.name = "vmdk-flat",
	.ending = "-flat.vmdk",
	.same_as = &format_raw,
	.layout = flat_layout,
};

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "tools/vm.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "src/bytes.h"
#include "src/log.h"

#define QEMU "qemu-system-x86_64"
#define AHCI_PORTS 6 /* of a controller */
#define IDE_MAX 4
#define WORDS_SHORT 4 /* stay on one line */

/* Where distributions keep UEFI for virtual machines. */
static const char *const firmwares[] = { "/usr/share/ovmf/OVMF.fd",
	"/usr/share/OVMF/OVMF.fd", "/usr/share/edk2/ovmf/OVMF.fd",
	"/usr/share/qemu/OVMF.fd" };

void vm_fini(struct vm *v)
{
	for (size_t i = 0; i < v->disks.n; i++)
		free(v->disks.v[i].path);
	vec_fini(&v->disks);
}

void words_fini(struct words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->v[i]);
	vec_fini(w);
}

__attribute__((format(printf, 2, 3))) static int add(
	struct words *w, const char *fmt, ...)
{
	char *word;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&word, fmt, ap);
	va_end(ap);
	if (n < 0)
		return fail(ENOMEM, "command line: %m");
	if (vec_add(w, word) < 0) {
		free(word);
		return fail(ENOMEM, "command line: %m");
	}
	return 0;
}

/* In a value of an option of QEMU a comma is two. */
static char *escaped(const char *path)
{
	char *buf = malloc(2 * strlen(path) + 1), *to = buf;

	for (; buf && *path; path++) {
		*to++ = *path;
		if (*path == ',')
			*to++ = ',';
	}
	if (buf)
		*to = 0;
	return buf;
}

int vm_check(const struct vm *v, bool libvirt)
{
	bool is_ide = strcmp(v->bus, "ide") == 0;

	if (is_ide && v->disks.n > IDE_MAX)
		return fail(EINVAL,
			"%s: has %zu disks, and IDE is for %d; another --bus "
			"has room",
			v->name, v->disks.n, IDE_MAX);
	if (libvirt && strcmp(v->format, "vhdx") == 0)
		return fail(EINVAL, "%s: libvirt has no disks of format vhdx",
			v->name);
	/* QEMU itself has what is written to them thrown away */
	if (libvirt && v->snapshot && (is_ide || strcmp(v->bus, "sata") == 0))
		return fail(EINVAL,
			"%s: its .qcow2 is read-only, which no disk of libvirt "
			"on --bus %s can be",
			v->name, v->bus);
	return 0;
}

static int add_drive(struct words *w, const struct vm *v, size_t i)
{
	scoped(freep) char *path = escaped(v->disks.v[i].path);

	if (!path)
		return fail(ENOMEM, "command line: %m");
	/* the length is what the footer says, whoever made it */
	return add(w, "-drive")
		       ?: add(w,
				  "file=%s,format=%s%s,if=none,id=disk%zu,"
				  "cache=none,"
				  "discard=unmap%s",
				  path, v->format,
				  strcmp(v->format, "vpc") == 0
					  ? ",force_size_calc=current_size"
					  : "",
				  i, v->snapshot ? ",snapshot=on" : "");
}

static int add_device(struct words *w, const struct vm *v, size_t i)
{
	const struct vm_disk *d = &v->disks.v[i];
	char sector[80] = "", device[48] = "virtio-blk-pci";

	if (strcmp(v->bus, "sata") == 0)
		snprintf(device, sizeof(device), "ide-hd,bus=ahci%zu.%zu",
			i / AHCI_PORTS, i % AHCI_PORTS);
	else if (strcmp(v->bus, "ide") == 0)
		snprintf(device, sizeof(device), "ide-hd");
	else if (strcmp(v->bus, "scsi") == 0)
		snprintf(device, sizeof(device), "scsi-hd,bus=scsi.0");
	if (d->sector_size != 512)
		snprintf(sector, sizeof(sector),
			",logical_block_size=%u,physical_block_size=%u",
			d->sector_size, d->sector_size);
	return add(w, "-device")
		       ?: add(w, "%s,drive=disk%zu,bootindex=%zu%s", device, i,
				  i + 1, sector);
}

static int add_disks(struct words *w, const struct vm *v)
{
	int r = 0;

	if (strcmp(v->bus, "sata") == 0)
		for (size_t i = 0; r == 0 && i * AHCI_PORTS < v->disks.n; i++)
			r = add(w, "-device")
				    ?: add(w, "ich9-ahci,id=ahci%zu", i);
	if (strcmp(v->bus, "scsi") == 0)
		r = add(w, "-device") ?: add(w, "virtio-scsi-pci,id=scsi");
	for (size_t i = 0; r == 0 && i < v->disks.n; i++)
		r = add_drive(w, v, i) ?: add_device(w, v, i);
	return r;
}

static int add_firmware(struct words *w)
{
	for (size_t i = 0; i < N_ELEMS(firmwares); i++)
		if (access(firmwares[i], R_OK) == 0)
			return add(w, "-bios") ?: add(w, "%s", firmwares[i]);
	return fail(ENOENT, "UEFI: no firmware for QEMU is installed (Debian's "
			    "package is ovmf)");
}

static bool has_screen(void)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the only thread */
	return getenv("DISPLAY") || getenv("WAYLAND_DISPLAY");
}

static int add_console(struct words *w, const struct vm *v)
{
	/* a BIOS that finds nothing to start ends instead of waiting for a key
	 */
	static const char *const quiet[] = { "-display", "none", "-monitor",
		"none", "-serial", "stdio", "-no-reboot", "-boot",
		"reboot-timeout=1" };
	int r = 0;

	if (!v->headless)
		return has_screen() ? 0 : add(w, "-nographic");
	for (size_t i = 0; r == 0 && i < N_ELEMS(quiet); i++)
		r = add(w, "%s", quiet[i]);
	return r;
}

int vm_command(const struct vm *v, struct words *ret)
{
	struct words w = { 0 };
	int r = add(&w, QEMU);

	if (r == 0)
		r = add(&w, "-name") ?: add(&w, "%s", v->name);
	if (r == 0)
		r = add(&w, "-machine")
			    ?: add(&w, "pc,accel=%s%s", v->kvm ? "kvm" : "tcg",
				       /* a BIOS says on the console, too, why
					* it finds nothing to start */
				       v->headless ? ",graphics=off" : "");
	if (r == 0)
		r = add(&w, "-cpu") ?: add(&w, "max");
	if (r == 0)
		r = add(&w, "-m") ?: add(&w, "%u", v->memory);
	if (r == 0)
		r = add(&w, "-smp") ?: add(&w, "%u", v->cpus);
	if (r == 0 && v->uefi)
		r = add_firmware(&w);
	if (r == 0)
		r = add(&w, "-nic") ?: add(&w, v->network ? "user" : "none");
	if (r == 0)
		r = add_console(&w, v);
	if (r == 0)
		r = add_disks(&w, v);
	for (char *const *more = v->more; r == 0 && more && *more; more++)
		r = add(&w, "%s", *more);
	if (r == 0 && vec_reserve(&w, 1) < 0)
		r = fail(ENOMEM, "command line: %m");
	if (r < 0) {
		words_fini(&w);
		return r;
	}
	w.v[w.n] = NULL;
	*ret = w;
	return 0;
}

int words_make(const char *const *from, struct words *ret)
{
	struct words w = { 0 };
	int r = 0;

	for (; r == 0 && *from; from++)
		r = add(&w, "%s", *from);
	if (r < 0)
		words_fini(&w);
	else
		*ret = w;
	return r;
}

static bool is_plain(const char *word)
{
	return *word && word[strspn(word, "abcdefghijklmnopqrstuvwxyz"
					  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
					  "0123456789_-+=:,./@%")] == 0;
}

void words_print(FILE *to, const struct words *w)
{
	bool is_long = w->n > WORDS_SHORT;

	for (size_t i = 0; i < w->n; i++) {
		const char *p = w->v[i];

		if (i)
			fputs(is_long && p[0] == '-' ? " \\\n\t" : " ", to);
		if (is_plain(p)) {
			fputs(p, to);
			continue;
		}
		fputc('\'', to);
		for (; *p; p++)
			fputs(*p == '\'' ? "'\\''" : (char[]){ *p, 0 }, to);
		fputc('\'', to);
	}
	fputc('\n', to);
}

static void print_xml(FILE *to, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", to);
			break;
		case '<':
			fputs("&lt;", to);
			break;
		case '\'':
			fputs("&apos;", to);
			break;
		default:
			fputc(*text, to);
		}
	}
}

/* a … z, aa … */
static void print_letters(FILE *to, size_t i)
{
	if (i >= 26)
		print_letters(to, i / 26 - 1);
	fputc('a' + (int)(i % 26), to);
}

static void print_disk(FILE *to, const struct vm *v, size_t i)
{
	bool is_virtio = strcmp(v->bus, "virtio") == 0;
	bool is_ide = strcmp(v->bus, "ide") == 0;

	fprintf(to,
		"    <disk type='file' device='disk'>\n"
		"      <driver name='qemu' type='%s' cache='none' "
		"discard='unmap'/>\n"
		"      <source file='",
		v->format);
	print_xml(to, v->disks.v[i].path);
	fprintf(to,
		"'/>\n"
		"      <target dev='%sd",
		is_virtio ? "v"
		: is_ide  ? "h"
			  : "s");
	print_letters(to, i);
	fprintf(to, "' bus='%s'/>\n", v->bus);
	if (v->disks.v[i].sector_size != 512)
		fprintf(to,
			"      <blockio logical_block_size='%u' "
			"physical_block_size='%u'/>\n",
			v->disks.v[i].sector_size, v->disks.v[i].sector_size);
	if (v->snapshot)
		fputs("      <readonly/>\n", to);
	fprintf(to, "      <boot order='%zu'/>\n    </disk>\n", i + 1);
}

void vm_print_domain(FILE *to, const struct vm *v)
{
	fprintf(to, "<domain type='%s'>\n  <name>", v->kvm ? "kvm" : "qemu");
	print_xml(to, v->name);
	fprintf(to,
		"</name>\n"
		"  <memory unit='MiB'>%u</memory>\n"
		"  <vcpu>%u</vcpu>\n"
		"  <os%s>\n"
		"    <type arch='x86_64' machine='%s'>hvm</type>\n"
		"  </os>\n"
		"  <features>\n    <acpi/>\n    <apic/>\n  </features>\n"
		"  <cpu mode='%s'/>\n"
		"  <devices>\n",
		v->memory, v->cpus, v->uefi ? " firmware='efi'" : "",
		strcmp(v->bus, "ide") == 0 ? "pc" : "q35",
		v->kvm ? "host-passthrough" : "maximum");
	/* what it is by default is no device that many guests know */
	if (strcmp(v->bus, "scsi") == 0)
		fputs("    <controller type='scsi' model='virtio-scsi'/>\n",
			to);
	for (size_t i = 0; i < v->disks.n; i++)
		print_disk(to, v, i);
	if (v->network)
		fputs("    <interface type='user'>\n"
		      "      <model type='virtio'/>\n"
		      "    </interface>\n",
			to);
	fputs("    <serial type='pty'/>\n"
	      "    <graphics type='vnc'/>\n"
	      "    <video/>\n"
	      "  </devices>\n"
	      "</domain>\n",
		to);
}

bool vm_wants_uefi(const uint8_t *head)
{
	/* a GUID partition table, and no boot code for a BIOS before it */
	return memcmp(head + 512, "EFI PART", 8) == 0 && is_zero(head, 440);
}

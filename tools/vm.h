/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vm - a machine to be started from files of a mount: as QEMU's command line,
 * and as libvirt's domain.
 *
 * Ownership  borrows all strings.
 * Threads    one thread.
 */
#ifndef HIVEFS_VM_H
#define HIVEFS_VM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "src/cleanup.h"
#include "src/vec.h"

struct vm_disk {
	char *path; /* owned: vm_fini() */
	uint64_t size;
	uint32_t sector_size;
};

struct vm {
	const char *name;
	const char *format; /* of the files: "raw", "vmdk", "vpc"… to QEMU */
	const char *bus;    /* virtio, sata, ide or scsi */
	bool kvm, uefi, network;
	bool headless; /* the console is on standard output, nothing to see */
	bool snapshot; /* nothing that it writes reaches the files */
	unsigned memory, cpus; /* MiB; a number */
	struct vec(struct vm_disk) disks;
	char *const *more; /* words for QEMU, ending with NULL */
};

void vm_fini(struct vm *v);

/* Can there be such a machine? -EINVAL, logged. */
int must_check vm_check(const struct vm *v, bool libvirt);

/* Words that end with NULL; words_fini(). */
struct words vec(char *);
int must_check vm_command(const struct vm *v, struct words *ret);
void words_fini(struct words *w);

/* Copies of FROM, which ends with NULL; none ends these. */
int must_check words_make(const char *const *from, struct words *ret);

/* As a shell takes it. */
void words_print(FILE *to, const struct words *w);

void vm_print_domain(FILE *to, const struct vm *v);

/* Is this disk, of which HEAD has 1024 bytes, made to start by UEFI only? */
bool vm_wants_uefi(const uint8_t *head);

#endif

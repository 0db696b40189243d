/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_config - what a machine has besides its disks, as far as it is
 * known: what it is to be started with.
 *
 * Units      memory in bytes.
 * Ownership  plain data.
 * Threads    any thread.
 */
#ifndef HIVEFS_MACHINE_CONFIG_H
#define HIVEFS_MACHINE_CONFIG_H

#include <bson/bson.h>
#include <stdbool.h>
#include <stdint.h>

struct decode;

#define CONFIG_MEMORY_MIN (UINT64_C(1) << 20)
#define CONFIG_MEMORY_MAX (UINT64_C(1) << 50)
#define CONFIG_CPUS_MAX 65535

enum firmware {
	FIRMWARE_UNKNOWN,
	FIRMWARE_BIOS,
	FIRMWARE_UEFI,
};

/* How the disks are attached. */
enum bus {
	BUS_UNKNOWN,
	BUS_VIRTIO,
	BUS_SATA,
	BUS_IDE,
	BUS_SCSI,
};

/* 0 is what nobody said. */
struct machine_config {
	uint64_t memory;
	uint32_t cpus;
	enum firmware firmware;
	enum bus bus;
};

/* NULL of an unknown one. */
const char *firmware_name(enum firmware f);
const char *bus_name(enum bus b);

/* Unknown is what is no name, and NULL. */
enum firmware firmware_of(const char *name);
enum bus bus_of(const char *name);

bool machine_config_known(const struct machine_config *c);

/* What IS says, and where it says nothing, WAS. */
struct machine_config machine_config_over(
	const struct machine_config *is, const struct machine_config *was);

/* The field `config` of a document; none if nothing is known. */
void machine_config_append(bson_t *b, const struct machine_config *c);
void machine_config_decode(struct decode *in, struct machine_config *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/machine_config.h"

#include <bson/bson.h>
#include <string.h>

#include "repo/decode.h"
#include "src/bytes.h"
#include "src/cleanup.h"

static const char *const firmwares[] = {
	[FIRMWARE_BIOS] = "bios",
	[FIRMWARE_UEFI] = "uefi",
};

static const char *const buses[] = {
	[BUS_VIRTIO] = "virtio",
	[BUS_SATA] = "sata",
	[BUS_IDE] = "ide",
	[BUS_SCSI] = "scsi",
};

/* Names begin at 1. */
static unsigned find(const char *const *names, size_t n, const char *name)
{
	for (unsigned i = 1; name && i < n; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return 0;
}

const char *firmware_name(enum firmware f)
{
	return firmwares[f];
}

const char *bus_name(enum bus b)
{
	return buses[b];
}

enum firmware firmware_of(const char *name)
{
	return (enum firmware)find(firmwares, N_ELEMS(firmwares), name);
}

enum bus bus_of(const char *name)
{
	return (enum bus)find(buses, N_ELEMS(buses), name);
}

bool machine_config_known(const struct machine_config *c)
{
	return c->memory || c->cpus || c->firmware || c->bus;
}

struct machine_config machine_config_over(
	const struct machine_config *is, const struct machine_config *was)
{
	return (struct machine_config){
		.memory = is->memory ?: was->memory,
		.cpus = is->cpus ?: was->cpus,
		.firmware = is->firmware ?: was->firmware,
		.bus = is->bus ?: was->bus,
	};
}

void machine_config_append(bson_t *b, const struct machine_config *c)
{
	bson_t config;

	if (!machine_config_known(c))
		return;
	BSON_APPEND_DOCUMENT_BEGIN(b, "config", &config);
	if (c->memory)
		BSON_APPEND_INT64(&config, "memory", (int64_t)c->memory);
	if (c->cpus)
		BSON_APPEND_INT32(&config, "cpus", (int32_t)c->cpus);
	if (c->firmware)
		BSON_APPEND_UTF8(
			&config, "firmware", firmware_name(c->firmware));
	if (c->bus)
		BSON_APPEND_UTF8(&config, "bus", bus_name(c->bus));
	bson_append_document_end(b, &config);
}

/* A name that a later version knows is one that nobody said. */
static char *name(struct decode *in, const char *field)
{
	return decode_has(in, field) ? decode_text(in, field) : NULL;
}

void machine_config_decode(struct decode *in, struct machine_config *ret)
{
	scoped(freep) char *firmware = NULL, *bus = NULL;
	struct decode config;
	bson_iter_t i;

	*ret = (struct machine_config){ 0 };
	if (!decode_has(in, "config") ||
		!bson_iter_init_find(&i, &in->doc, "config"))
		return;
	decode_sub(&config, &i);
	if (decode_has(&config, "memory"))
		ret->memory = (uint64_t)decode_i64(&config, "memory",
			(int64_t)CONFIG_MEMORY_MIN, (int64_t)CONFIG_MEMORY_MAX);
	if (decode_has(&config, "cpus"))
		ret->cpus = (uint32_t)decode_i32(
			&config, "cpus", 1, CONFIG_CPUS_MAX);
	firmware = name(&config, "firmware");
	ret->firmware = firmware_of(firmware);
	bus = name(&config, "bus");
	ret->bus = bus_of(bus);
	if (config.bad)
		decode_spoil(in, "config", decode_error(&config));
}

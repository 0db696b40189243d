/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json - what several verbs say alike with --json: one compact object a line,
 * sizes in bytes, times as text in UTC.
 */
#ifndef HIVEFS_JSON_H
#define HIVEFS_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct point;
struct point_disk;
struct repo;
struct uuid;

/* Writes OBJECT as one line and takes it; NULL stands for "out of memory". */
void json_line(FILE *to, json_t *object);

/* A string, with what is not UTF-8 (of a file name) replaced. */
json_t *json_text(const char *text);

/* Is MEMBER of the object in that file this one? */
bool json_names(const char *path, const char *member, const struct uuid *id);

json_t *json_bytes(uint64_t bytes);
json_t *json_time(int64_t seconds);

json_t *json_point_disk(const struct point_disk *d);

/* {"type":"point",…} with its disks */
json_t *json_point(struct repo *r, const struct point *p);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table - rows of text in columns as wide as they need to be.
 *
 * Threads    one thread.
 */
#ifndef HIVEFS_TABLE_H
#define HIVEFS_TABLE_H

#include <stdint.h>

#include "src/vec.h"

struct table {
	/* of the columns, ending in NULL; a '>' in front aligns to the right */
	const char *const *heads;
	struct vec(char *) cells; /* row by row */
};

/* Adds the next cell: a copy. Out of memory ends the program. */
void table_add(struct table *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void table_add_size(struct table *t, uint64_t bytes);

/* Prints it to stdout, if it has rows, each indented by INDENT; frees cells. */
void table_print(struct table *t, int indent);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "tools/table.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/bytes.h"
#include "src/text.h"
#include "tools/cli.h"

enum { COLUMNS_MAX = 16 };

void table_add(struct table *t, const char *fmt, ...)
{
	va_list ap;
	char *text;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n > 0)
		text_clean(text); /* names of sources are anybody's */
	if (n < 0 || vec_add(&t->cells, text) < 0)
		cli_no_memory();
}

void table_add_size(struct table *t, uint64_t bytes)
{
	char buf[16];

	table_add(t, "%s", size_text(bytes, buf));
}

static void print_row(const struct table *t, size_t n, const int *width,
	const char *const *row, int indent)
{
	printf("%*s", indent, "");
	for (size_t i = 0; i < n; i++) {
		const char *gap = i ? "  " : "";

		if (t->heads[i][0] == '>')
			printf("%s%*s", gap, width[i], row[i]);
		else if (i + 1 < n)
			printf("%s%-*s", gap, width[i], row[i]);
		else
			printf("%s%s", gap, row[i]);
	}
	putchar('\n');
}

void table_print(struct table *t, int indent)
{
	const char *heads[COLUMNS_MAX];
	int width[COLUMNS_MAX];
	size_t n = 0;

	for (; n < COLUMNS_MAX && t->heads[n]; n++) {
		heads[n] = t->heads[n] + (t->heads[n][0] == '>');
		width[n] = (int)strlen(heads[n]);
	}
	assert(n > 0 && t->cells.n % n == 0);
	for (size_t i = 0; i < t->cells.n; i++) {
		int len = (int)strlen(t->cells.v[i]);

		width[i % n] = MAX_OF(width[i % n], len);
	}
	if (t->cells.n)
		print_row(t, n, width, heads, indent);
	for (size_t i = 0; i < t->cells.n; i += n)
		print_row(t, n, width, (const char *const *)&t->cells.v[i],
			indent);
	for (size_t i = 0; i < t->cells.n; i++)
		free(t->cells.v[i]);
	vec_fini(&t->cells);
}

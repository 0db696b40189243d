/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/help.h"

#include <stdio.h>
#include <string.h>

enum { HELP_COLUMN = 26, HELP_WIDTH = 79 };

/* Prints TEXT wrapped, from the column on where the cursor is already. */
static void print_wrapped(const char *text, size_t column)
{
	size_t at = column;

	while (*text) {
		size_t len = strcspn(text, " ");

		if (at > column && at + 1 + len > HELP_WIDTH) {
			printf("\n%*s", (int)column, "");
			at = column;
		} else if (at > column) {
			putchar(' ');
			at++;
		}
		printf("%.*s", (int)len, text);
		at += len;
		text += len;
		text += strspn(text, " ");
	}
	putchar('\n');
}

static void print_options(const struct cli_option *table)
{
	for (const struct cli_option *o = table; o && o->name; o++) {
		char shape[64];
		int n;

		n = snprintf(shape, sizeof(shape), "  %c%c%c --%s%s%s",
			o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
			o->letter ? ',' : ' ', o->name, o->arg ? " " : "",
			o->arg ? o->arg : "");
		if (n >= HELP_COLUMN)
			printf("%s\n%*s", shape, HELP_COLUMN, "");
		else
			printf("%-*s", HELP_COLUMN, shape);
		print_wrapped(o->help, HELP_COLUMN);
	}
}

void help_print(const struct verb *v)
{
	printf("Usage: hivefs %s [OPTION]...%s%s\n\n%s.\n", v->name,
		*v->operands ? " " : "", v->operands, v->summary);
	if (v->text)
		printf("\n%s\n", v->text);
	if (v->options) {
		printf("\nOptions:\n");
		print_options(v->options);
	}
	printf("\nOptions of every verb:\n");
	print_options(cli_global_options);
	printf("\nThe manual page hivefs-%s(1) says more.\n", v->name);
}

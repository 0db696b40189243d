/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "tools/say.h"

#include <stdarg.h>
#include <stdlib.h>

#include "src/text.h"
#include "tools/cli.h"

void say_line(FILE *to, const char *fmt, ...)
{
	va_list ap;
	char *text;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		cli_no_memory();
	text_clean(text);
	fprintf(to, "%s\n", text);
	free(text);
}

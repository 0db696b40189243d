/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "tools/say.h"

#include <stdarg.h>

#include "src/cleanup.h"
#include "src/text.h"
#include "tools/cli.h"

void say_line(FILE *to, const char *fmt, ...)
{
	scoped(freep) char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (!text)
		cli_no_memory();
	text_clean(text);
	fprintf(to, "%s\n", text);
}

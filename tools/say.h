/* SPDX-License-Identifier: Apache-2.0 */
/*
 * say - a line of results that holds somebody's file name.
 */
#ifndef HIVEFS_SAY_H
#define HIVEFS_SAY_H

#include <stdio.h>

/* Adds the line's end; control characters are shown as `?`. */
void say_line(FILE *to, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif

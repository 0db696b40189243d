/* SPDX-License-Identifier: Apache-2.0 */
/*
 * completion - a shell's completion of hivefs, made from the table of verbs.
 *
 * Machines and addresses are completed by asking the repository; a shell that
 * gets no answer offers nothing.
 */
#ifndef HIVEFS_COMPLETION_H
#define HIVEFS_COMPLETION_H

#include <stdio.h>

void completion_bash(FILE *to);
void completion_zsh(FILE *to);
void completion_fish(FILE *to);

#endif

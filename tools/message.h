/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message - where what a verb logs goes: lines for people, or with --json one
 * line of JSON each, on stderr. The first error is the cause of a failure: it
 * is kept until the exit code is known and is then {"type":"error","code":…}.
 * What several threads run into alike is said once.
 *
 * Threads    messages come from any thread; the functions here belong to one.
 */
#ifndef HIVEFS_MESSAGE_H
#define HIVEFS_MESSAGE_H

#include <stdbool.h>

/* Also if --json comes behind the mistake that must be told as JSON. */
bool message_wants_json(int argc, char **argv);

/* To be called before any thread is started. */
void message_begin(bool json);

/* CODE is what the program will exit with. */
void message_end(int code);

#endif

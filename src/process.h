/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process - which process something belongs to, as text that lasts: whoever
 * finds it later can tell whether that process is still there.
 *
 * Threads    any thread.
 */
#ifndef HIVEFS_PROCESS_H
#define HIVEFS_PROCESS_H

#define PROCESS_TEXT 128
#define PROCESS_HOST 256

enum process_state {
	PROCESS_ALIVE,
	PROCESS_DEAD,       /* for certain */
	PROCESS_OTHER_BOOT, /* of another host, or of this one earlier */
	PROCESS_UNKNOWN, /* of another process namespace, or not to be seen */
};

/* Us: boot, process namespace, process id, and when it began. */
void process_text(char buf[PROCESS_TEXT]);

/* The name of this host; empty if it has none. */
void process_host(char buf[PROCESS_HOST]);

enum process_state process_state(const char *text);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cancel - SIGINT, SIGTERM and SIGHUP ask long work to stop in good order; a
 * second one kills, as does any for work that never asked to be asked.
 */
#ifndef HIVEFS_CANCEL_H
#define HIVEFS_CANCEL_H

#include <stdatomic.h>
#include <stdbool.h>

/* True once a signal came; work looks at it and returns -ECANCELED. */
extern _Atomic bool cancelled;

/*
 * From here on, signals set the flag. A result that nobody reads any more
 * (SIGPIPE) is an error like others: it must not kill a backup. WAKE: a call
 * that waits, for the reader of a pipe, returns with EINTR then.
 */
void cancel_catch(bool wake);

/* The signal that came, 0 if none did. */
int cancel_signal(void);

#endif

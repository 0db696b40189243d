/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cancel.h"

#include <signal.h>
#include <stddef.h>

_Atomic bool cancelled;
static _Atomic int which;

static void on_signal(int sig)
{
	atomic_store(&which, sig);
	atomic_store(&cancelled, true);
}

void cancel_catch(bool wake)
{
	struct sigaction stop = {
		.sa_handler = on_signal,
		.sa_flags = (int)SA_RESETHAND | (wake ? 0 : SA_RESTART),
	};
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct sigaction was;

	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	/* nohup(1) has it ignored, and means it */
	if (sigaction(SIGHUP, NULL, &was) == 0 && was.sa_handler != SIG_IGN)
		sigaction(SIGHUP, &stop, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
}

int cancel_signal(void)
{
	return atomic_load(&which);
}

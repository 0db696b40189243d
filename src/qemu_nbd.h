/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qemu_nbd - a qemu-nbd process of our own, which serves one image read-only
 * on a unix socket in a private directory.
 *
 * It ends with this process however that ends: the kernel kills it when the
 * thread that forked it is gone (PR_SET_PDEATHSIG goes by thread, not by
 * process), so a thread that outlives all others forks it and waits for it.
 *
 * Ownership  qemu_nbd_start() returns owned; qemu_nbd_stop() frees.
 * Threads    one thread at a time.
 */
#ifndef HIVEFS_QEMU_NBD_H
#define HIVEFS_QEMU_NBD_H

#include <stdbool.h>

#include "src/cleanup.h"

struct qemu_nbd;

/* Returns when it is started, not when it is ready. Borrows nothing. */
int must_check qemu_nbd_start(
	const char *image_opts, const char *name, struct qemu_nbd **ret);

/* Where to connect; until it listens, a connection is refused. */
const char *qemu_nbd_socket(const struct qemu_nbd *q);

/* Nobody is going to connect any more: its socket leaves the file system. */
void qemu_nbd_hide(struct qemu_nbd *q);

bool qemu_nbd_ended(const struct qemu_nbd *q);

/* Logs why it ended, in its own words; for one that did. */
int must_check qemu_nbd_failed(const struct qemu_nbd *q);

/* Kills it, waits for its end. */
void qemu_nbd_stop(struct qemu_nbd *q);
DEFINE_CLEANUP(struct qemu_nbd *, qemu_nbd_stop);

#endif

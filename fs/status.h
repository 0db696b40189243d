/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status - /.hivefs/status.json and /.hivefs/metrics: how this mount and the
 * repository below it are, made when they are opened.
 *
 * metrics is Prometheus text (exposition format 0.0.4), so that the textfile
 * collector or a plain `cat` can take it.
 */
#ifndef HIVEFS_STATUS_H
#define HIVEFS_STATUS_H

#include "fs/fs.h"

/* RET is owned text. */
int must_check status_json(struct fs *fs, char **ret);
int must_check status_metrics(struct fs *fs, char **ret);

#endif

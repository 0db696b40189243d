/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_gone - what lay in segments that are missing, or shorter than the index
 * knows them: one look at each file, and nothing else where all are there.
 */
#ifndef HIVEFS_STORE_GONE_H
#define HIVEFS_STORE_GONE_H

#include "repo/embedded.h"

int must_check embedded_gone(struct store *s, store_visit visit, void *arg);

#endif

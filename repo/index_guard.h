/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index_guard - LMDB trusts its pages: of a damaged one it may follow an offset
 * or a length to where nothing is, and the process would end by a signal. While
 * a thread is in a transaction of the index, SIGBUS, SIGSEGV and an assertion
 * of LMDB's end the process with the exit code for damage and a message that
 * says what to do. Of single flipped bits one in 200 comes to that, of a page
 * of random bytes one in 10; our checksums and LMDB's checks meet the others.
 *
 * Threads    any thread.
 */
#ifndef HIVEFS_INDEX_GUARD_H
#define HIVEFS_INDEX_GUARD_H

#include <lmdb.h>

/* For ENV, before it is opened; DIR is what messages call it. */
void index_guard(MDB_env *env, const char *dir);

/* Around what this thread does with it; they nest. */
void index_guard_begin(void);
void index_guard_end(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clone_arg - which clone an operand means, who has it, and how it is told of.
 *
 * Threads    one thread.
 */
#ifndef HIVEFS_CLONE_ARG_H
#define HIVEFS_CLONE_ARG_H

#include <jansson.h>

#include "repo/clone.h"
#include "repo/stream.h"
#include "tools/cli.h"

/*
 * TEXT is a clone's name, or names a point: then its own clone. -ENOENT,
 * logged: there is none; -EINVAL, logged, also of a single disk.
 */
int must_check clone_arg_find(
	struct repo *r, const char *text, struct clone *ret);

/* What to type to get it; owned. No memory: it exits. */
char *clone_arg_text(struct repo *r, const struct clone *c);

/* Who has it open; -ENOENT, quietly: nobody. */
int must_check clone_arg_owner(
	struct repo *r, const struct clone *c, struct stream_owner *ret);

/*
 * The same, but a process of this host may be about to let go of it: the kernel
 * tells a mount that a file was closed only after close(2) has returned. Waits
 * up to 2 s for that.
 */
int must_check clone_arg_wait(
	struct repo *r, const struct clone *c, struct stream_owner *ret);

/* Is it a process of this host, and alive? */
bool clone_arg_is_here(const struct stream_owner *o);

/* -EBUSY, logged, with who has it. */
int must_check clone_arg_busy(const char *text, const struct stream_owner *o);

/* Us, as an owner. */
struct stream_owner clone_arg_us(const struct cli *c);

/*
 * Bytes that wait in its streams for being folded into its maps: it reads them.
 * -EBADMSG, logged.
 */
int must_check clone_arg_unfolded(
	struct repo *r, const struct clone *c, uint64_t *ret);

/* {"type":"clone",…} with its disks */
json_t *clone_arg_json(struct repo *r, const struct clone *c);

#endif

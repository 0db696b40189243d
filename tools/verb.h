/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verb - the verbs, a file each; tools/verbs.c lists them. A new one is one
 * file, a line here, a line there and its manual page.
 */
#ifndef HIVEFS_VERB_H
#define HIVEFS_VERB_H

#include "tools/cli.h"

extern const struct verb verb_init;
extern const struct verb verb_backup;
extern const struct verb verb_boot;
extern const struct verb verb_points;
extern const struct verb verb_show;
extern const struct verb verb_diff;
extern const struct verb verb_mount;
extern const struct verb verb_clone;
extern const struct verb verb_clones;
extern const struct verb verb_commit;
extern const struct verb verb_discard;
extern const struct verb verb_doctor;
extern const struct verb verb_restore;
extern const struct verb verb_export;
extern const struct verb verb_rm;
extern const struct verb verb_hold;
extern const struct verb verb_tag;
extern const struct verb verb_untag;
extern const struct verb verb_bookmark;
extern const struct verb verb_prune;
extern const struct verb verb_gc;
extern const struct verb verb_status;
extern const struct verb verb_verify;
extern const struct verb verb_repair;
extern const struct verb verb_version;
extern const struct verb verb_completion;
extern const struct verb verb_copy;
extern const struct verb verb_help;

/* All of them in the order of the overview, then NULL. */
extern const struct verb *const verbs[];

/* NULL if there is none of that name. */
const struct verb *verb_find(const char *name);

#endif

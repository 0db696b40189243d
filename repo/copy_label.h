/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy_label - the marks and the hold of a point, brought to where it is
 * copied.
 *
 * Threads    any thread.
 * Errors     logged.
 */
#ifndef HIVEFS_COPY_LABEL_H
#define HIVEFS_COPY_LABEL_H

#include "repo/copy.h"
#include "repo/label.h"

/*
 * Adds what the label here has, in *RET, to that there. *ret_bookmarks: some
 * are new, and other points may have them still.
 */
int must_check copy_label(const struct copy *job, const struct point_id *id,
	struct label *ret, bool *ret_changed, bool *ret_bookmarks);

/* Takes them from those. */
int must_check copy_bookmarks(const struct copy *job, const struct point_id *id,
	const struct label *l);

#endif

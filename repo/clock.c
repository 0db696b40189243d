/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/clock.h"

#include <errno.h>
#include <time.h>

#include "repo/point.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/text.h"

static int take_newest(void *arg, const struct point *p)
{
	int64_t *newest = arg;

	*newest = MAX_OF(*newest, p->end);
	*newest = MAX_OF(*newest, p->id.time);
	return 0;
}

int repo_check_clock(struct repo *r)
{
	int64_t newest = r->created, now = time(NULL);
	char a[32], b[32];
	int err;

	if (r->trust_clock)
		return 0;
	err = point_list(r, NULL, false, take_newest, &newest);
	if (err < 0 && err != -EBADMSG)
		return err;
	if (now - newest <= CLOCK_AHEAD_MAX)
		return 0;
	return fail(EPERM,
		"the clock says %s, but the newest that %s knows of is of %s: "
		"if the clock is right, say --clock-is-right",
		time_text(now, a), r->url, time_text(newest, b));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/damage_print.h"

#include <inttypes.h>
#include <stdio.h>

#include "src/text.h"
#include "tools/cli.h"
#include "tools/json.h"
#include "tools/progress.h"

void damage_print(void *cli, const struct verify_damage *d)
{
	const struct cli *c = cli;
	const char *machine = d->point ? d->point->machine : d->clone->machine;
	scoped(freep) char *clone = d->clone ? clone_text(d->clone) : NULL;
	char hex[DIGEST_HEX] = "", time[32];
	json_t *o;

	if (d->digest)
		digest_hex(d->digest, hex);
	time_text(d->point ? d->point->id.time : d->clone->base.time, time);
	progress_hide();
	if (c->json) {
		o = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:s, s:s}",
			"type", "damage", "machine", machine, "time", time,
			"disk", d->disk, "offset", json_bytes(d->off), "length",
			json_bytes(d->len), "what", d->what, "why", d->why);
		if (d->digest)
			json_object_set_new(o, "digest", json_string(hex));
		if (clone)
			json_object_set_new(o, "clone", json_string(clone));
		json_line(stdout, o);
	} else {
		if (clone)
			printf("clone %s: disk %s: ", clone, d->disk);
		else
			printf("%s/%s@%s: ", machine, d->disk, time);
		printf("offset %" PRIu64 ", length %" PRIu64 ": %s %.12s%s%s\n",
			d->off, d->len, d->what, hex, d->digest ? " " : "",
			d->why);
	}
	progress_unhide();
}

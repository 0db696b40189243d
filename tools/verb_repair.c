/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "repo/location.h"
#include "repo/machine.h"
#include "repo/point.h"
#include "repo/verify.h"
#include "src/bytes.h"
#include "src/exit.h"
#include "src/log.h"
#include "src/text.h"
#include "tools/cancel.h"
#include "tools/damage_print.h"
#include "tools/json.h"
#include "tools/progress.h"
#include "tools/say.h"
#include "tools/verb.h"

struct options {
	bool index, plan, apply;
};

static const struct cli_option options[] = {
	{ "index", 0, CLI_FLAG, offsetof(struct options, index),
		.help = "build the index of an embedded repository anew from "
			"its segments" },
	{ "plan", 0, CLI_FLAG, offsetof(struct options, plan),
		.help = "read everything and say what is damaged and what "
			"--apply would do about it" },
	{ "apply", 0, CLI_FLAG, offsetof(struct options, apply),
		.help = "do it: what is damaged or missing goes to the "
			"quarantine, so that the next backup brings it back" },
	{ 0 },
};

/* What a key says to a person. */
static void key_text(const struct key *key, char *buf, size_t len)
{
	char hex[2 * KEY_MAX + 1];
	bool plain = true;

	for (unsigned i = 0; i < key->len; i++)
		plain = plain && key->b[i] > ' ' && key->b[i] < 0x7f;
	if (plain)
		snprintf(buf, len, "%.*s", (int)key->len, (const char *)key->b);
	else
		snprintf(buf, len, "%s", hex_encode(key->b, key->len, hex));
}

static void print_lost(
	const struct cli *c, struct repo *repo, const struct store_lost *l)
{
	char text[2 * KEY_MAX + 1], time[32], alias[ALIAS_LEN + 1], place[32];
	json_t *o = json_pack(
		"{s:s, s:s}", "type", "lost", "collection", coll_name(l->coll));
	scoped(freep) char *machine = NULL;
	char uuid[UUID_TEXT];
	struct point_id id;
	bool of_point = (l->coll == COLL_POINTS || l->coll == COLL_LABELS) &&
			point_key_parse(&l->key, &id) == 0;

	snprintf(place, sizeof(place), "segments/%08x.seg", l->segment);
	if (of_point) {
		machine = repo ? machine_name(repo, &id.machine)
			       : strdup(uuid_text(&id.machine, uuid));
		if (!machine)
			cli_no_memory();
		time_text(id.time, time);
		point_alias(&id, alias);
		json_object_update_new(
			o, json_pack("{s:s, s:s, s:s}", "machine", machine,
				   "time", time, "alias", alias));
	} else {
		key_text(&l->key, text, sizeof(text));
		json_object_set_new(o, "key", json_string(text));
	}
	json_object_update_new(o, json_pack("{s:s, s:o}", "file", place,
					  "offset", json_bytes(l->off)));
	if (c->json)
		json_line(stdout, json_incref(o));
	else if (of_point)
		printf("%s@%s, alias %s: its document in %s is lost: %s, "
		       "offset %" PRIu64 "\n",
			machine, time, alias, coll_name(l->coll), place,
			l->off);
	else
		printf("%s: %s: its document is lost: %s, offset %" PRIu64 "\n",
			coll_name(l->coll), text, place, l->off);
	json_decref(o);
}

static void print_all_lost(
	struct cli *c, const char *url, const struct store_repair *res)
{
	uint64_t n = MIN_OF(res->n_lost, (uint64_t)STORE_LOST_MAX);
	scoped(repo_closep) struct repo *repo = NULL;

	if (n == 0)
		return;
	if (repo_open(url, STORE_READ_ONLY, &repo) < 0)
		repo = NULL; /* why was logged; names of machines are missed */
	for (uint64_t i = 0; i < n; i++)
		print_lost(c, repo, &res->lost[i]);
	if (n < res->n_lost && !c->json)
		printf("and %" PRIu64 " more\n", res->n_lost - n);
}

static void print_summary(
	const struct cli *c, const char *url, const struct store_repair *res)
{
	if (c->json)
		json_line(stdout,
			json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "type",
				"summary", "verb", "repair", "segments",
				json_bytes(res->segments), "documents",
				json_bytes(res->documents), "damaged",
				json_bytes(res->damaged), "damaged_bytes",
				json_bytes(res->damaged_bytes), "lost",
				json_bytes(res->n_lost)));
	else if (!c->quiet)
		say_line(stdout,
			"%s: index built from %" PRIu64 " segment%s, %" PRIu64
			" document%s",
			url, res->segments, plural(res->segments),
			res->documents, plural(res->documents));
}

/* What there is to do is done by verify: this says it before, and after. */
static void print_plan(struct cli *c, const struct verify_result *res)
{
	const struct options *o = c->options;
	const char *action = res->index_bad    ? "rebuild-index"
			     : !res->n_damaged ? "none"
					       : "quarantine";
	const char *would = o->plan ? "would be " : "";

	if (c->json) {
		json_line(stdout,
			json_pack("{s:s, s:s, s:b, s:s, s:o, s:o, s:o, s:o}",
				"type", "summary", "verb", "repair", "applied",
				(int)o->apply, "action", action, "damaged",
				json_bytes(res->n_damaged), "ranges",
				json_bytes(res->n_ranges), "quarantined",
				json_bytes(res->n_quarantined), "healed",
				json_bytes(res->n_healed)));
		return;
	}
	if (res->index_bad)
		printf("the index lists others than it counts: first rebuild "
		       "it with hivefs repair --index\n");
	else if (res->n_damaged == 0)
		printf("no damage: nothing %sdone\n", would);
	else
		printf("%" PRIu64 " damaged or missing: chunks and maps among "
		       "them %smoved to the quarantine;\nthe next backup that "
		       "contains the same bytes stores them anew. What no "
		       "backup\nbrings back stays damaged until the points "
		       "listed here are removed: hivefs restore\n"
		       "--best-effort gets out what is left of them\n",
			res->n_damaged, o->plan ? would : "were ");
}

static int heal_or_plan(struct cli *c)
{
	const struct options *o = c->options;
	scoped(repo_closep) struct repo *repo = NULL;
	struct verify_progress progress = { 0 };
	struct verify_result res = { 0 };
	int r = cli_open(c, STORE_READ_ONLY, &repo);

	if (r < 0)
		return r;
	cancel_catch(false);
	progress_begin(c, "repair", &progress.done, &progress.total);
	r = verify(&(struct verify){ .repo = repo,
			   .heal = o->apply,
			   .progress = &progress,
			   .cancel = &cancelled,
			   .damage = damage_print,
			   .arg = c },
		&res);
	progress_end();
	if (r < 0)
		return r;
	if (c->json || !c->quiet)
		print_plan(c, &res);
	return res.n_damaged ? EXIT_DAMAGE : EXIT_OK;
}

static int run(struct cli *c)
{
	const struct options *o = c->options;
	scoped(freep) char *url = NULL;
	struct store_repair res = { 0 };
	char bytes[16];
	int r;

	if (o->index + o->plan + o->apply != 1)
		return cli_usage(c,
			"repair: say what, one of --plan, --apply and "
			"--index");
	if (!o->index)
		return heal_or_plan(c);
	r = repo_location(c->repo, &url);
	if (r == 0)
		r = store_repair_index(url, &res);
	if (r < 0)
		return r;
	print_all_lost(c, url, &res);
	print_summary(c, url, &res);
	if (res.damaged == 0 && res.n_lost == 0)
		return EXIT_OK;
	log_error("%s: damaged: %" PRIu64 " record%s (%s); hivefs verify says "
		  "what it touches",
		url, res.damaged, plural(res.damaged),
		size_text(res.damaged_bytes, bytes));
	return EXIT_DAMAGE;
}

const struct verb verb_repair = {
	.name = "repair",
	.operands = "",
	.summary = "Rebuild what can be derived from the stored documents",
	.text = "Nothing else may have the repository open meanwhile (exit "
		"code 11). Documents that\nare lost, points among them, are "
		"listed (exit code 4).",
	.options = options,
	.options_size = sizeof(struct options),
	.run = run,
};

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/copy.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "repo/address.h"
#include "repo/listing.h"
#include "repo/location.h"
#include "repo/machine.h"
#include "src/exit.h"
#include "src/log.h"
#include "src/monotonic.h"
#include "src/text.h"
#include "src/url.h"
#include "tools/cancel.h"
#include "tools/json.h"
#include "tools/progress.h"
#include "tools/verb.h"

struct options {
	const char *to, *from, *to_file, *from_file, *limit;
	bool dry_run;
	unsigned threads;
};

static const struct cli_option options[] = {
	{ "to", 0, CLI_TEXT, offsetof(struct options, to), .arg = "REPOSITORY",
		.help = "where the points are to go" },
	{ "from", 0, CLI_TEXT, offsetof(struct options, from),
		.arg = "REPOSITORY", .help = "where they come from" },
	{ "to-file", 0, CLI_TEXT, offsetof(struct options, to_file),
		.arg = "FILE",
		.help = "the same as --to; the first line of this file names "
			"it" },
	{ "from-file", 0, CLI_TEXT, offsetof(struct options, from_file),
		.arg = "FILE", .help = "the same as --from, likewise" },
	{ "limit", 0, CLI_TEXT, offsetof(struct options, limit), .arg = "RATE",
		.help = "bytes a second at most, as 500K or 10M" },
	{ "dry-run", 0, CLI_FLAG, offsetof(struct options, dry_run),
		.help = "say what would be copied" },
	{ "threads", 0, CLI_NUMBER, offsetof(struct options, threads),
		.arg = "N", .min = 1, .max = 32,
		.help = "default: as fits this host" },
	{ 0 },
};

struct run {
	struct cli *cli;
	const struct options *options;
	struct repo *from, *to;
	struct copy_ids ids;
	int damaged; /* what a list lacks without a word */
};

static int add_id(struct run *run, const struct point_id *id)
{
	return vec_add(&run->ids, *id) < 0 ? fail(ENOMEM, "copy: %m") : 0;
}

static int visit_point(void *arg, const struct point *p)
{
	return add_id(arg, &p->id);
}

static int add_named(struct run *run, const char *text)
{
	struct address a;
	struct uuid uuid;
	int r = machine_name_ok(text) ? machine_get(run->from, text, &uuid)
				      : -ENOENT;

	if (r == 0) {
		r = point_list_all(run->from, &uuid, visit_point, run);
		return r == -EBADMSG ? 0 : r;
	}
	if (r != -ENOENT)
		return r;
	r = address_resolve_any(run->from, text, &a);
	if (r < 0)
		return r;
	r = a.disk ? cli_usage(run->cli,
			     "%s: names one disk, but a point is copied as a "
			     "whole",
			     text)
		   : add_id(run, &a.point.id);
	address_fini(&a);
	return r;
}

/* Damaged ones are listed, too: copying them says so. */
static int choose(struct run *run)
{
	int r = 0;

	if (run->cli->n == 0) {
		r = point_list_all(run->from, NULL, visit_point, run);
		if (r == -EBADMSG)
			r = 0;
		if (r == 0 && listing_check(run->from->store) < 0)
			run->damaged = -EBADMSG;
	}
	for (unsigned i = 0; r == 0 && i < run->cli->n; i++)
		r = add_named(run, run->cli->operands[i]);
	return r;
}

static char *name_of(struct run *run, const struct point *p)
{
	scoped(freep) char *machine = NULL;
	char when[32], *text;

	if (p->machine)
		return cli_address(run->from, p);
	machine = machine_name(run->from, &p->id.machine);
	if (asprintf(&text, "%s@%s", machine ? machine : "?",
		    time_text(p->id.time, when)) < 0)
		cli_no_memory();
	return text;
}

static void print_json(const struct point *p, const char *address,
	const char *outcome, const struct carry_stats *stats)
{
	char alias[ALIAS_LEN + 1];

	json_line(stdout,
		json_pack("{s:s, s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:o}",
			"type", "point", "address", address, "alias",
			point_alias(&p->id, alias), "time",
			json_time(p->id.time), "outcome", outcome, "chunks",
			json_bytes(stats->n_chunks), "maps",
			json_bytes(stats->n_maps), "bytes",
			json_bytes(stats->plain), "stored",
			json_bytes(stats->stored)));
}

static void print_text(struct run *run, const char *address,
	enum copy_outcome outcome, const struct carry_stats *stats)
{
	char bytes[16], stored[16];

	if (outcome == COPY_DONE && run->options->dry_run)
		printf("%s: would be copied: %s that are not there\n", address,
			size_text(stats->plain, bytes));
	else if (outcome == COPY_DONE)
		printf("%s: copied: %s that were not there, %s sent\n", address,
			size_text(stats->plain, bytes),
			size_text(stats->stored, stored));
	else if (outcome == COPY_REMOVED)
		printf("%s: was removed there, and is not copied again\n",
			address);
}

static void visit(void *arg, const struct point *p, enum copy_outcome outcome,
	const struct carry_stats *stats)
{
	static const char *const names[] = {
		[COPY_DONE] = "copied",
		[COPY_REMOVED] = "removed",
		[COPY_DAMAGED] = "damaged",
		[COPY_REFUSED] = "refused",
		[COPY_GONE] = "gone",
	};
	struct run *run = arg;
	scoped(freep) char *address = NULL;

	if (outcome == COPY_THERE)
		return;
	address = name_of(run, p);
	if (outcome == COPY_DAMAGED)
		log_error("%s: is damaged and was not copied; hivefs verify "
			  "says where",
			address);
	if (outcome == COPY_REFUSED)
		log_error("%s: was not copied, since %s has another machine "
			  "of that name",
			address, run->to->url);
	progress_hide();
	if (run->cli->json)
		print_json(p, address, names[outcome], stats);
	else if (!run->cli->quiet)
		print_text(run, address, outcome, stats);
	progress_unhide();
}

static void print_summary(
	const struct run *run, const struct copy_result *res, double seconds)
{
	bool dry = run->options->dry_run;
	char bytes[16], stored[16];

	if (run->cli->json)
		json_line(stdout,
			json_pack("{s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o, "
				  "s:o, s:o, s:o, s:o, s:o, s:f}",
				"type", "summary", "verb", "copy", "dry_run",
				(int)dry, "copied",
				json_bytes(res->n[COPY_DONE]), "there",
				json_bytes(res->n[COPY_THERE]), "removed",
				json_bytes(res->n[COPY_REMOVED]), "damaged",
				json_bytes(res->n[COPY_DAMAGED]), "refused",
				json_bytes(res->n[COPY_REFUSED]), "labels",
				json_bytes(res->n_labels), "chunks",
				json_bytes(res->sent.n_chunks), "maps",
				json_bytes(res->sent.n_maps), "bytes",
				json_bytes(res->sent.plain), "stored",
				json_bytes(res->sent.stored), "seconds",
				seconds));
	else if (!run->cli->quiet)
		printf("%" PRIu64 " point%s %s, %" PRIu64
		       " there already; %" PRIu64 " chunk%s (%s%s%s) in "
		       "%.1f s\n",
			res->n[COPY_DONE], plural(res->n[COPY_DONE]),
			dry ? "would be copied" : "copied", res->n[COPY_THERE],
			res->sent.n_chunks, plural(res->sent.n_chunks),
			size_text(res->sent.plain, bytes), dry ? "" : ", sent ",
			dry ? "" : size_text(res->sent.stored, stored),
			seconds);
}

static int parse_limit(struct cli *c, const char *text, uint64_t *ret)
{
	*ret = 0;
	if (text && (size_parse(text, ret) < 0 || *ret == 0))
		return cli_usage(
			c, "--limit: '%s' is no rate as 500K or 10M", text);
	return EXIT_OK;
}

static int parse(struct cli *c)
{
	const struct options *o = c->options;
	int n = !!o->to + !!o->from + !!o->to_file + !!o->from_file;

	return n == 1 ? EXIT_OK
		      : cli_usage(c, "copy: say --to or --from, and which "
				     "repository");
}

static int locate_other(const struct options *o, char **ret)
{
	if (o->to_file)
		return repo_location_in("--to-file", o->to_file, ret);
	if (o->from_file)
		return repo_location_in("--from-file", o->from_file, ret);
	return repo_location(o->to ?: o->from, ret);
}

static bool same(const char *a, const char *b)
{
	const char *pa = url_directory(a), *pb = url_directory(b);
	struct stat sa, sb;

	if (strcmp(a, b) == 0)
		return true;
	return pa && pb && stat(pa, &sa) == 0 && stat(pb, &sb) == 0 &&
	       sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* Both, or neither. */
static int open_both(struct run *run)
{
	const struct options *o = run->options;
	unsigned flags = o->dry_run ? STORE_READ_ONLY : 0;
	bool to_other = o->to || o->to_file;
	scoped(freep) char *here = NULL;
	scoped(freep) char *other = NULL;
	int r = repo_location(run->cli->repo, &here);

	if (r == 0)
		r = locate_other(o, &other);
	if (r < 0)
		return r;
	if (here && other && same(here, other))
		return fail(EINVAL,
			"copy: both repositories are the same one; say the "
			"other with --repo, or $HIVEFS_REPO");
	r = repo_open(to_other ? here : other, STORE_READ_ONLY, &run->from);
	return r < 0 ? r : repo_open(to_other ? other : here, flags, &run->to);
}

static int warn_gone(const struct run *run, const struct copy_result *res)
{
	log_warn("%s: %" PRIu64 " document%s lost there, and in the quarantine "
		 "now: what was copied is whole, hivefs verify says what is "
		 "not",
		run->to->url, res->n_gone,
		res->n_gone == 1 ? " was" : "s were");
	return EXIT_WARNINGS;
}

static int copy(struct run *run, uint64_t limit)
{
	struct copy_progress progress = { 0 };
	double seconds = monotonic_seconds();
	struct copy_result res;
	struct copy job = { .from = run->from,
		.to = run->to,
		.dry_run = run->options->dry_run,
		.n_threads = run->options->threads,
		.limit = limit,
		.progress = &progress,
		.cancel = &cancelled,
		.visit = visit,
		.arg = run };
	int r;

	cancel_catch(false);
	progress_begin(run->cli, "copy", &progress.done, &progress.total);
	r = copy_points(&job, &run->ids, &res);
	progress_end();
	if (r < 0)
		return r;
	print_summary(run, &res, monotonic_seconds() - seconds);
	if (res.n[COPY_DAMAGED] || run->damaged)
		return EXIT_DAMAGE;
	if (res.n[COPY_REFUSED])
		return EXIT_ERROR;
	return res.n_gone ? warn_gone(run, &res) : EXIT_OK;
}

static int run(struct cli *c)
{
	struct run run = { .cli = c, .options = c->options };
	uint64_t limit;
	int r = parse(c);

	if (r == EXIT_OK)
		r = parse_limit(c, run.options->limit, &limit);
	if (r == EXIT_OK)
		r = open_both(&run);
	if (r == 0)
		r = choose(&run);
	if (r == 0)
		r = copy(&run, limit);
	vec_fini(&run.ids);
	if (run.to)
		repo_close(run.to);
	if (run.from)
		repo_close(run.from);
	return r;
}

const struct verb verb_copy = {
	.name = "copy",
	.operands = "[MACHINE|ADDRESS]...",
	.complete = "address",
	.max = 1000,
	.summary = "Copy recovery points from one repository to another",
	.text = "All points, or those named, or all of the machines named, "
		"with what is not there\nyet of their chunks. They are the "
		"same points there: time, alias, tags, bookmarks\nand hold. A "
		"copy that is stopped goes on where it was when it is run "
		"again.",
	.options = options,
	.options_size = sizeof(struct options),
	.run = run,
};

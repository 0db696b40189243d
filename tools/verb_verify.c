/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/verify.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "repo/address.h"
#include "repo/stamps.h"
#include "src/exit.h"
#include "src/log.h"
#include "src/monotonic.h"
#include "src/text.h"
#include "tools/boot_test.h"
#include "tools/cancel.h"
#include "tools/damage_print.h"
#include "tools/json.h"
#include "tools/progress.h"
#include "tools/verb.h"

struct options {
	bool metadata, report, newest;
	const char *sample, *older_than, *max_duration, *boot, *until;
	unsigned threads, timeout;
};

static const struct cli_option options[] = {
	{ "metadata", 0, CLI_FLAG, offsetof(struct options, metadata),
		.help = "points and maps only, and that every chunk they name "
			"is there; the chunks themselves are not read" },
	{ "sample", 0, CLI_TEXT, offsetof(struct options, sample), .arg = "N%",
		.help = "so many per cent of the chunks, those that were "
			"verified longest ago" },
	{ "older-than", 0, CLI_TEXT, offsetof(struct options, older_than),
		.arg = "SPAN",
		.help = "chunks that were not verified for so long: 36h, 30d, "
			"8w" },
	{ "max-duration", 0, CLI_TEXT, offsetof(struct options, max_duration),
		.arg = "SPAN",
		.help = "as many of the chunks as fit into this time; the next "
			"time goes on there" },
	{ "newest-first", 0, CLI_FLAG, offsetof(struct options, newest),
		.help = "the chunks that the newest point needs, then what the "
			"one before it needs besides, and so on" },
	{ "boot", 0, CLI_TEXT, offsetof(struct options, boot), .arg = "ADDRESS",
		.help = "also start that machine, on a clone that is dropped, "
			"and see whether it comes up" },
	{ "until", 0, CLI_TEXT, offsetof(struct options, until), .arg = "TEXT",
		.help = "with --boot: it is up when a line of its serial "
			"console contains TEXT" },
	{ "timeout", 0, CLI_NUMBER, offsetof(struct options, timeout),
		.arg = "SECONDS", .min = 1, .max = 86400,
		.help = "with --boot: it must be up by then (300)" },
	{ "report-only", 0, CLI_FLAG, offsetof(struct options, report),
		.help = "leave what is damaged where it is, in the way of the "
			"next backup" },
	{ "threads", 0, CLI_NUMBER, offsetof(struct options, threads),
		.arg = "N", .min = 1, .max = 256,
		.help = "default: as fits this host" },
	{ 0 },
};

struct outcome {
	struct verify_progress progress;
	struct verify_result data;
	bool booted, up;
	double seconds;
};

static void print_json(const struct cli *c, const struct outcome *out)
{
	const struct options *o = c->options;
	const struct verify_result *res = &out->data;

	json_line(stdout,
		json_pack("{s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
			  "s:o, s:o, s:o, s:i, s:o, s:o, s:f}",
			"type", "summary", "verb", "verify", "metadata_only",
			(int)o->metadata, "points", json_bytes(res->n_points),
			"clones", json_bytes(res->n_clones), "disks",
			json_bytes(res->n_disks), "maps",
			json_bytes(res->n_maps), "chunks",
			json_bytes(res->n_chunks), "bytes",
			json_bytes(res->bytes), "damaged",
			json_bytes(res->n_damaged), "ranges",
			json_bytes(res->n_ranges), "quarantined",
			json_bytes(res->n_quarantined), "healed",
			json_bytes(res->n_healed), "parts", (int)res->n_parts,
			"newest_points",
			o->newest ? json_bytes(res->n_newest) : json_null(),
			"up", out->booted ? json_boolean(out->up) : json_null(),
			"seconds", out->seconds));
}

static void print_text(const struct cli *c, const struct outcome *out)
{
	const struct options *o = c->options;
	const struct verify_result *res = &out->data;
	char bytes[16];

	printf("%" PRIu64 " point%s, %" PRIu64 " disk%s, %" PRIu64
	       " clone%s, %" PRIu64 " map%s, ",
		res->n_points, plural(res->n_points), res->n_disks,
		plural(res->n_disks), res->n_clones, plural(res->n_clones),
		res->n_maps, plural(res->n_maps));
	if (o->metadata)
		printf("which name chunks %" PRIu64 " time%s, ", res->n_chunks,
			plural(res->n_chunks));
	else
		printf("%" PRIu64 " chunk%s (%s) ", res->n_chunks,
			plural(res->n_chunks), size_text(res->bytes, bytes));
	printf("in %.1f s: ", out->seconds);
	if (res->n_damaged)
		printf("%" PRIu64 " damaged or missing, %" PRIu64
		       " range%s of disks affected\n",
			res->n_damaged, res->n_ranges, plural(res->n_ranges));
	else
		printf("no damage\n");
	if (res->n_quarantined)
		printf("%" PRIu64 " moved to the quarantine: the next backup "
		       "that contains the same bytes\nstores them anew, and "
		       "all that used them is whole again\n",
			res->n_quarantined);
	if (res->n_healed)
		printf("%" PRIu64 " whole again\n", res->n_healed);
	if (o->newest)
		printf("all that the newest %" PRIu64 " point%s need%s was "
		       "read\n",
			res->n_newest, plural(res->n_newest),
			res->n_newest == 1 ? "s" : "");
}

/* "5%" or "5": how many of the 256 parts, at least one. */
static int parse_sample(struct cli *c, const char *text, unsigned *ret)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)*text) || (*end && strcmp(end, "%") != 0) ||
		n < 1 || n > 100)
		return cli_usage(c, "--sample: '%s' is no percentage", text);
	*ret = (unsigned)((n * STAMPS + 99) / 100);
	return EXIT_OK;
}

static int parse_span(
	struct cli *c, const char *name, const char *text, int64_t *ret)
{
	*ret = 0;
	if (text && (duration_parse(text, ret) < 0 || *ret == 0 ||
			    *ret > INT32_MAX))
		return cli_usage(
			c, "--%s: '%s' is no span as 1h or 30d", name, text);
	return EXIT_OK;
}

static int parse(struct cli *c, struct verify *ret)
{
	const struct options *o = c->options;
	int64_t seconds;
	int r = parse_span(c, "older-than", o->older_than, &ret->older_than);

	if (r == EXIT_OK)
		r = parse_span(c, "max-duration", o->max_duration, &seconds);
	if (r != EXIT_OK)
		return r;
	ret->max_seconds = (unsigned)seconds;
	if (o->metadata &&
		(o->sample || o->older_than || o->max_duration || o->newest))
		return cli_usage(c, "--metadata: reads no chunks to choose of");
	if ((o->boot != NULL) != (o->until != NULL))
		return cli_usage(c,
			"--boot and --until belong together: what does it say "
			"when it is up?");
	if ((o->timeout || c->n) && !o->boot)
		return cli_usage(c, "%s: is for --boot",
			c->n ? c->operands[0] : "--timeout");
	return o->sample ? parse_sample(c, o->sample, &ret->parts) : EXIT_OK;
}

/* What was found is said by then, if it is text: what is left is the code. */
static int judge(const char *url, const struct outcome *out)
{
	uint64_t n = out->data.n_damaged;

	if (n)
		log_error("%s: %" PRIu64 " document%s damaged or missing", url,
			n, n == 1 ? " is" : "s are");
	return n || (out->booted && !out->up) ? EXIT_DAMAGE : EXIT_OK;
}

static int read_all(struct cli *c, struct verify *job, struct outcome *out)
{
	int r;

	job->progress = &out->progress;
	cancel_catch(false);
	progress_begin(c, "verify", &out->progress.done, &out->progress.total);
	r = verify(job, &out->data);
	progress_end();
	return r;
}

static int run(struct cli *c)
{
	const struct options *o = c->options;
	scoped(repo_closep) struct repo *repo = NULL;
	struct outcome out = { .booted = o->boot != NULL };
	double begun = monotonic_seconds();
	struct verify job = { .metadata_only = o->metadata,
		.newest_first = o->newest,
		.heal = !o->report,
		.n_threads = o->threads,
		.cancel = &cancelled,
		.damage = damage_print,
		.arg = c };
	int r = parse(c, &job);

	/* before there are threads */
	if (r == EXIT_OK && o->boot)
		r = boot_test(c,
			&(struct boot_test){
				o->boot, o->until, o->timeout, c->operands },
			&out.up);
	if (r == EXIT_OK)
		r = cli_open(c, STORE_READ_ONLY, &repo);
	if (r != 0)
		return r;
	job.repo = repo;
	r = read_all(c, &job, &out);
	if (r < 0)
		return r;
	out.seconds = monotonic_seconds() - begun;
	if (c->json)
		print_json(c, &out);
	else if (!c->quiet)
		print_text(c, &out);
	return judge(repo->url, &out);
}

const struct verb verb_verify = {
	.name = "verify",
	.operands = "[-- BOOT-OPTION...]",
	.complete = "none",
	.max = 64,
	.summary = "Read everything again and compare it with its digest",
	.text = "Damage is listed with the machines, points and offsets it "
		"touches (exit code 4), and\nmoved to a quarantine, so that "
		"the next backup of the same bytes heals every point\nthat "
		"used them.\n\nDoes last night's backup boot?\n  hivefs verify "
		"--newest-first --max-duration 1h --boot web@latest --until "
		"'login:'\n\nWhat follows -- goes to hivefs boot, as --memory "
		"and --accel.",
	.options = options,
	.options_size = sizeof(struct options),
	.run = run,
};

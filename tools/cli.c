/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Not getopt_long(): that one takes every unique abbreviation of a long option,
 * and a script that relies on one breaks with the next release's options.
 */
#define _GNU_SOURCE
#include "tools/cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "repo/address.h"
#include "repo/location.h"
#include "repo/repo.h"
#include "src/bytes.h"
#include "src/exit.h"
#include "src/log.h"

const struct cli_option cli_global_options[] = {
	{ "repo", 'r', CLI_TEXT, offsetof(struct cli, repo),
		.arg = "REPOSITORY",
		.help = "a path or URL; otherwise $HIVEFS_REPO, the first line "
			"of the file $HIVEFS_REPO_FILE, or the default" },
	{ "json", 0, CLI_FLAG, offsetof(struct cli, json),
		.help = "results as JSON lines, the last one of type summary" },
	{ "progress", 0, CLI_TEXT, offsetof(struct cli, progress),
		.arg = "WHEN", .words = "auto never",
		.help = "auto (on a terminal) or never" },
	{ "quiet", 'q', CLI_FLAG, offsetof(struct cli, quiet),
		.help = "errors and warnings only; no progress, no report of "
			"what was done" },
	{ "verbose", 'v', CLI_FLAG, offsetof(struct cli, verbose),
		.help = "also say what is going on inside, as with "
			"HIVEFS_DEBUG=all" },
	{ "help", 'h', CLI_FLAG, offsetof(struct cli, help),
		.help = "this text" },
	{ 0 },
};

int cli_usage(const struct cli *c, const char *fmt, ...)
{
	scoped(freep) char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		text = NULL;
	log_error("%s; see hivefs %s --help", text ? text : "wrong usage",
		c->verb->name);
	return EXIT_USAGE;
}

/* Levenshtein's distance of words of less than 32 letters */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[32];
	unsigned n = (unsigned)strlen(b);

	for (unsigned j = 0; j <= n; j++)
		row[j] = j;
	for (unsigned i = 1; a[i - 1]; i++) {
		unsigned left_above = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= n; j++) {
			unsigned above = row[j];
			unsigned d = left_above + (a[i - 1] != b[j - 1]);

			d = MIN_OF(d, above + 1);
			row[j] = MIN_OF(d, row[j - 1] + 1);
			left_above = above;
		}
	}
	return row[n];
}

const char *cli_nearest(
	const char *word, const char *const *first, size_t n, size_t stride)
{
	unsigned best = (unsigned)strlen(word) / 3 + 1;
	const char *ret = NULL;

	if (strlen(word) >= 32)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		const char *name = *(
			const char *const *)(const void *)((const char *)first +
							   i * stride);
		unsigned d = distance(word, name);

		if (d <= best && d < strlen(word)) {
			best = d;
			ret = name;
			if (d == 0)
				break;
		}
	}
	return ret;
}

static size_t options_count(const struct cli_option *o)
{
	size_t n = 0;

	while (o && o[n].name)
		n++;
	return n;
}

static const struct cli_option *in_table(const struct cli_option *table,
	const char *name, size_t len, char letter)
{
	for (const struct cli_option *o = table; o && o->name; o++)
		if (letter ? o->letter == letter
			   : strlen(o->name) == len &&
					/* cppcheck-suppress nullPointer */
					strncmp(o->name, name, len) == 0)
			return o;
	return NULL;
}

int cli_global_words(const char *word)
{
	const struct cli_option *o;
	bool is_long = word[0] == '-' && word[1] == '-';
	size_t len = is_long ? strcspn(word + 2, "=") : 0;

	if (word[0] != '-' || !word[1])
		return 0;
	o = is_long ? in_table(cli_global_options, word + 2, len, 0)
		    : in_table(cli_global_options, NULL, 0, word[1]);
	if (!o)
		return 0;
	return o->type == CLI_FLAG || word[2 + len] ? 1 : 2;
}

struct found {
	const struct cli_option *option; /* NULL: there is none */
	char *base;
};

static struct found find(
	const struct cli *c, const char *name, size_t len, char letter)
{
	struct found f = { .option = in_table(
				   cli_global_options, name, len, letter),
		.base = (char *)(uintptr_t)c };

	if (!f.option) {
		f.option = in_table(c->verb->options, name, len, letter);
		f.base = c->options;
	}
	return f;
}

static bool is_word(const char *words, const char *value)
{
	size_t n = strlen(value);

	for (const char *w = words; *w; w += strspn(w, " ")) {
		size_t len = strcspn(w, " ");

		if (len == n && strncmp(w, value, n) == 0)
			return true;
		w += len;
	}
	return false;
}

/* "raw, qcow2 or vdi" of "raw qcow2 vdi" */
static void words_text(const char *words, char *buf, size_t size)
{
	const char *last = strrchr(words, ' ');
	size_t at = 0;

	buf[0] = 0;
	for (const char *w = words; *w && at < size; w++) {
		const char *between = w == last ? " or " : ", ";

		at += *w == ' '
			      ? (size_t)snprintf(
					buf + at, size - at, "%s", between)
			      : (size_t)snprintf(buf + at, size - at, "%c", *w);
	}
}

static int set_number(const struct cli *c, const struct cli_option *o,
	const char *value, unsigned *ret)
{
	char *end = NULL;
	unsigned long v;

	errno = 0;
	v = strtoul(value, &end, 10);
	/* strtoul() also takes blanks and signs */
	if (!isdigit((unsigned char)*value) || *end || errno || v < o->min ||
		v > o->max)
		return cli_usage(c, "--%s: '%s' is no number from %u to %u",
			o->name, value, o->min, o->max);
	*ret = (unsigned)v;
	return EXIT_OK;
}

static int set(const struct cli *c, struct found f, const char *value)
{
	const struct cli_option *o = f.option;
	void *var = f.base + o->offset;
	char words[128];

	switch (o->type) {
	case CLI_FLAG:
		*(bool *)var = true;
		break;
	case CLI_NUMBER:
		return set_number(c, o, value, var);
	case CLI_TEXT:
		if (o->words && !is_word(o->words, value)) {
			words_text(o->words, words, sizeof(words));
			return cli_usage(c, "--%s: '%s' is not %s", o->name,
				value, words);
		}
		*(const char **)var = value;
		break;
	}
	return EXIT_OK;
}

static int unknown_long(const struct cli *c, const char *name, size_t len)
{
	scoped(freep) char *word = strndup(name, len);
	const struct cli_option *own = c->verb->options;
	const char *near = NULL;

	if (!word)
		return cli_usage(c, "out of memory");
	if (own)
		near = cli_nearest(
			word, &own[0].name, options_count(own), sizeof(*own));
	if (!near)
		near = cli_nearest(word, &cli_global_options[0].name,
			options_count(cli_global_options), sizeof(*own));
	if (near)
		return cli_usage(c, "--%s: no such option, maybe --%s is meant",
			word, near);
	return cli_usage(c, "--%s: no such option", word);
}

/* ARGV[0] is "--name" or "--name=value"; *ret_used words were taken. */
static int parse_long(struct cli *c, int argc, char **argv, int *ret_used)
{
	const char *name = argv[0] + 2;
	size_t len = strcspn(name, "=");
	const char *value = name[len] ? name + len + 1 : NULL;
	struct found f = find(c, name, len, 0);

	*ret_used = 1;
	if (!f.option)
		return unknown_long(c, name, len);
	if (f.option->type == CLI_FLAG) {
		if (value)
			return cli_usage(
				c, "--%s takes no value", f.option->name);
		return set(c, f, NULL);
	}
	if (!value) {
		if (argc < 2)
			return cli_usage(c, "--%s: %s is missing",
				f.option->name, f.option->arg);
		value = argv[1];
		*ret_used = 2;
	}
	return set(c, f, value);
}

/* ARGV[0] is "-abc", "-rVALUE" or "-r" with the value behind it. */
static int parse_short(struct cli *c, int argc, char **argv, int *ret_used)
{
	*ret_used = 1;
	for (const char *p = argv[0] + 1; *p; p++) {
		struct found f = find(c, NULL, 0, *p);
		const char *value = p + 1;
		int r;

		if (!f.option)
			return cli_usage(c, "-%c: no such option", *p);
		if (f.option->type == CLI_FLAG) {
			r = set(c, f, NULL);
			if (r != EXIT_OK)
				return r;
			continue;
		}
		if (!*value && argc < 2)
			return cli_usage(
				c, "-%c: %s is missing", *p, f.option->arg);
		if (!*value) {
			value = argv[1];
			*ret_used = 2;
		}
		return set(c, f, value);
	}
	return EXIT_OK;
}

static int check_count(const struct cli *c)
{
	const struct verb *v = c->verb;

	if (c->n < v->min)
		return cli_usage(c, "%s: %s is needed", v->name, v->operands);
	if (c->n > v->max && v->max == 0)
		return cli_usage(c, "'%s': %s takes no operand", c->operands[0],
			v->name);
	if (c->n > v->max)
		return cli_usage(c, "'%s': one word too many, %s takes %s",
			c->operands[v->max], v->name, v->operands);
	return EXIT_OK;
}

int cli_parse(struct cli *ret, int argc, char **argv)
{
	bool only_operands = false;
	int i = 0;

	ret->operands = calloc((size_t)argc + 1, sizeof(char *));
	ret->options = calloc(1, ret->verb->options_size + 1);
	if (!ret->operands || !ret->options)
		return cli_usage(ret, "out of memory");
	while (i < argc) {
		char *word = argv[i];
		int used = 1;
		int r = EXIT_OK;

		/* a single dash is standard output */
		if (only_operands || word[0] != '-' || !word[1])
			ret->operands[ret->n++] = word;
		else if (strcmp(word, "--") == 0)
			only_operands = true;
		else if (word[1] == '-')
			r = parse_long(ret, argc - i, argv + i, &used);
		else
			r = parse_short(ret, argc - i, argv + i, &used);
		if (r != EXIT_OK)
			return r;
		i += used;
	}
	return ret->help ? EXIT_OK : check_count(ret);
}

void cli_fini(struct cli *c)
{
	free(c->operands);
	free(c->options);
}

int cli_open(const struct cli *c, unsigned flags, struct repo **ret)
{
	scoped(freep) char *url = NULL;
	int r = repo_location(c->repo, &url);

	if (r < 0)
		return r;
	return repo_open(url, flags, ret);
}

void cli_no_memory(void)
{
	log_error("out of memory");
	_exit(EXIT_ERROR);
}

char *cli_address(struct repo *r, const struct point *p)
{
	char *text;

	/* a listing that fails leaves the shorter form */
	if (address_full(r, p, &text) < 0 && !(text = address_text(p)))
		cli_no_memory();
	return text;
}
